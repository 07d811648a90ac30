"""The suite's other top-level packages, whose names may clash with a user's folders."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

#: The suite's top-level packages besides sim_eval.
OWN_PACKAGES = ("tasks", "policies", "critics")


def refuse_shadowed_packages() -> None:
    """Raise ImportError if, for example, `import tasks` would find another package than the suite's."""
    home = Path(__file__).resolve().parent.parent.parent
    for name in OWN_PACKAGES:
        spec = find_spec(name)
        found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if found is not None and home not in found.parents:
            folder = found.parent if found.name == "__init__.py" else found
            raise ImportError(
                f"sim_eval needs its own package {name!r}, and {folder} hides it: rename that, "
                f"or start Python in another folder"
            )
