"""The observations that a policy asks for. Worker processes read requests too, so this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

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

    Raises ValueError for names in one string, an image size or a history below 1, and an unknown orientation.
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
        if self.image_orientation not in ORIENTATIONS:
            raise ValueError(f"image_orientation={self.image_orientation!r}: accepted are {', '.join(ORIENTATIONS)}")
        for name in ("image_size", "history"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}={value!r}: accepted is a whole number of at least 1")

    @property
    def images(self) -> tuple[str, ...]:
        """The names of the images among `names`."""
        return tuple(name for name in self.names if name.endswith("_image"))
