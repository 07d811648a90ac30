"""Everything together, as a folder that LIBERO takes for its assets."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree

from PIL import Image

from tasks.libero_lite.fixtures import FIXTURES
from tasks.libero_lite.objects import OBJECTS
from tasks.libero_lite.scenes import IMAGES, SCENES

#: The suites of which every object and fixture is here.
LITE_SUITES = ("libero_spatial", "libero_object", "libero_goal")


def write_lite(folder: Path) -> None:
    """Write some 25 small files into the empty `folder`; takes a few milliseconds."""
    for place, loose in OBJECTS.items():
        name = Path(place).name
        _write(folder / place / f"{name}.xml", loose.model(name))
    for place, build in {**FIXTURES, **SCENES}.items():
        _write(folder / place, build())
    for place, draw in IMAGES.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw()).save(folder / place)


def _write(path: Path, root: Element) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree(root).write(path)
