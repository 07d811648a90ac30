"""The observations that a policy asks for. Worker processes read requests too, so this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

_LARGEST_IMAGE, _LONGEST_HISTORY = 4096, 1000
ORIENTATIONS = ("upright", "opengl", "rotated")


@dataclass(frozen=True)
class ObservationRequest:
    """The observations that a policy reads at each decision. Nothing else is computed or drawn.

    names: robosuite's names of vectors ("robot0_eef_pos") and images ("agentview_image"), and "instruction".
    image_size: width and height in pixels.
    image_orientation: "upright"; "opengl", bottom row first, as robosuite and LIBERO return images; "rotated", the
        "opengl" image turned by 180 degrees, as OpenVLA, openpi and LeRobot feed LIBERO's images to their policies.
    history: control steps to see, the latest last. Above 1, every array gains a leading axis of this length; the
        episode's first observation stands in for the steps before it.
    reflections, multisampling: how images are drawn. Both are on in MuJoCo and LIBERO; each about halves the frame
        rate of software GL.

    Raises ValueError for names in one string or with characters of paths, an image size beyond 1 to 4096, a history
    beyond 1 to 1000, and an unknown orientation. A server may send a request, and a file hold one.
    """

    names: tuple[str, ...]
    image_size: int = 224
    image_orientation: str = "upright"
    history: int = 1
    reflections: bool = True
    multisampling: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise ValueError(f"names={self.names!r}: accepted is a tuple of names, ({self.names!r},)")
        object.__setattr__(self, "names", tuple(self.names))
        for name in self.names:  # a picture's file is called so
            if not isinstance(name, str) or not name.isprintable() or "/" in name or not 0 < len(name) <= 200:
                raise ValueError(f"names has {name!r:.80}: accepted are names of observations")
        if self.image_orientation not in ORIENTATIONS:
            raise ValueError(f"image_orientation={self.image_orientation!r}: accepted are {', '.join(ORIENTATIONS)}")
        for name, most in (("image_size", _LARGEST_IMAGE), ("history", _LONGEST_HISTORY)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise ValueError(f"{name}={value!r:.80}: accepted is a whole number of 1 to {most}")

    @property
    def images(self) -> tuple[str, ...]:
        """The names of the images among `names`."""
        return tuple(name for name in self.names if name.endswith("_image"))
