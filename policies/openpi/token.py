"""The secret that a server may demand of its clients. It is no option, which would end up in a run's folder."""

from __future__ import annotations

import os
from pathlib import Path

#: The environment variable that holds the token, if no file is named.
VARIABLE = "SIM_EVAL_TOKEN"


def read_token(file: str | Path | None) -> str | None:
    """The token in `file`, or else in the environment variable; None if there is neither.

    Raises ValueError for a file that cannot be read, and for a token that is no word of printable ASCII characters.
    """
    origin = VARIABLE if file is None else f"token_file={file}"
    try:
        path = None if file is None else Path(os.path.expanduser(file))  # which leaves ~ where nobody knows the home
        token = os.environ.get(VARIABLE) if path is None else path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{origin} cannot be read: {error}") from None
    if token is None:
        return None
    if not (token.isascii() and token.isprintable() and token and " " not in token):
        raise ValueError(f"{origin} holds no token; accepted: one word of printable ASCII characters")
    return token
