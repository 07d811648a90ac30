"""Hooks of the documentation site: links out of docs/, and equations as MathML, which browsers draw by themselves."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parent.parent
#: Stands for a link out of docs/ while MkDocs checks links: it knows the files of docs/ alone.
_OUTSIDE = "outside:"
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Mark links to the repository's files outside docs/. Raises PluginError for one that does not exist."""

    def marked(link: re.Match[str]) -> str:
        if not (ROOT / link[1].partition("#")[0]).exists():
            raise PluginError(f"{page.file.src_uri} links to ../{link[1]}, which does not exist")
        return f"]({_OUTSIDE}{link[1]})"

    return re.sub(r"\]\(\.\./([^)\s]+)\)", marked, markdown)


def on_page_content(content: str, config: Any, **_: Any) -> str:
    """Give these links the repository's address, or without one the checkout's; replace TeX by MathML."""
    repository = (config.repo_url or "").rstrip("/")
    content = content.replace(f'href="{_OUTSIDE}', f'href="{repository}/blob/main/' if repository else 'href="../')
    return _EQUATION.sub(_mathml, content)


def _mathml(equation: re.Match[str]) -> str:
    tex = html.unescape(equation[2]).strip()
    if equation[1] == "span":
        return str(convert(tex))
    return f'<div class="equation">{convert(tex, display="block")}</div>'
