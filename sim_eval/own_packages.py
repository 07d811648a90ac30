"""The suite's packages beside this one, whose names a user's own folders may have too."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

#: The suite's top-level packages beside this one.
OWN_PACKAGES = ("tasks", "policies", "critics")


def refuse_shadowed_packages() -> None:
    """Raise ImportError where `import tasks` would find somebody else's package."""
    home = Path(__file__).resolve().parent.parent
    for name in OWN_PACKAGES:
        spec = find_spec(name)
        found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if found is not None and home not in found.parents:
            folder = found.parent if found.name == "__init__.py" else found
            raise ImportError(
                f"sim_eval needs its own package {name!r}, and {folder} hides it: rename that, "
                f"or start Python in another folder"
            )
