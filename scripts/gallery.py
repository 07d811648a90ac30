"""The clips of docs/gallery.md, two columns from the same start: `python -m scripts.gallery [NAME ...]`.

Each clip is played and drawn by the suite's own commands, in runs/gallery and videos/gallery, where finished episodes
are kept. Names are those of `CLIPS`; without one, all are made. The page is written from the clips that there are.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]
from PIL import Image

from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import replacing
from sim_eval.runs.reader import CONFIG, Run, read_run
from sim_eval.runs.records import Record

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/gallery.md"
CLIPS_FOLDER = ROOT / "docs/pictures/gallery"
FACTS = CLIPS_FOLDER / "clips.json"
RUNS, VIDEOS = ROOT / "runs/gallery", ROOT / "videos/gallery"
#: Episodes that are played, and played at most, to find one in which the columns end differently.
ROUNDS = (4, 10, 30)
#: Width of a picture in pixels, control steps between two frames, and how much faster than real time a clip plays.
SIZE, EVERY, FASTER = 224, 5, 2
QUALITY = 42
#: Bytes that a clip, and all of them together, may have.
MOST, MOST_OF_ALL = 1_500_000, 10_000_000

_INTRODUCTION = """# Gallery

Two columns, one start: left the frozen policy, right what the caption says, on the same episode key. At the end a frame
is green for success and red for failure. Clips play at twice the speed of the simulation. Each shows the first episode
that the right column solves and the left one fails, of at most ten: what steering can do, not how often it does.
[Results](results.md) and the [study](study.md) have the rates.

`python -m scripts.gallery` plays the episodes, draws the clips and writes this page. A clip by hand:

```sh
sim-eval evaluate task=can policy=flow_weak samplers=unsteered,qpilots_u episodes=10 output=DIR
sim-eval render DIR videos=rescued side_by_side=true samplers=unsteered,qpilots_u
```

The weights come with the repository."""


#: A section of the page.
PAPER = "The QPILOTS paper's tasks"


@dataclass(frozen=True)
class Clip:
    """A clip. `left`, `right`: the options of the evaluation of each column, equal if one run holds both.

    `samplers`: of the left column and of the right one. `differs`: whether the right column must succeed and the left
    one fail; without it the clip is of episode 0.
    """

    name: str
    section: str
    left: str
    right: str
    samplers: tuple[str, str]
    caption: str
    differs: bool = True

    @property
    def file(self) -> Path:
        return CLIPS_FOLDER / f"{self.name}.webp"

    @property
    def runs(self) -> dict[str, list[str]]:
        """The options of each evaluation but `episodes`, by the name of its folder."""
        if self.left == self.right:
            return {self.name: [*shlex.split(self.left), f"samplers={','.join(self.samplers)}"]}
        columns = zip(("left", "right"), (self.left, self.right), self.samplers, strict=True)
        return {f"{self.name}-{side}": [*shlex.split(typed), f"samplers={name}"] for side, typed, name in columns}


def _steered(task: str, policy: str = "flow_weak") -> Clip:
    return _beside_unsteered(task, "The six main tasks", f"task={task}", policy)


def _beside_unsteered(name: str, section: str, task: str, policy: str, sampler: str = "qpilots_u") -> Clip:
    options = f"{task} policy={policy}"
    caption = f"`{policy}`, `unsteered` beside `{sampler}`"
    return Clip(name, section, options, options, ("unsteered", sampler), caption)


def _paper_steered(index: int) -> Clip:
    return _beside_unsteered(f"libero_90_{index}", PAPER, f"task=libero_90 task.index={index}", "flow")


def _paper(index: int) -> Clip:
    options = f"task=libero_90 task.index={index} critic=none policy=mini_vla_libero_90"
    caption = "`mini_vla_libero_90` beside `mini_vla_libero_90_strong`, both `unsteered`"
    return Clip(
        f"libero_90_{index}",
        PAPER,
        options,
        f"{options}_strong",
        ("unsteered", "unsteered"),
        caption,
    )


_TOLD = "task=libero_goal task.index=8 critic=none policy=mini_vla_strong"
_SCENE = "task=ogbench task.env=scene task.index=1 task.sparse=true"
_SWAPPED = "open the middle drawer of the cabinet"
CLIPS = (
    _steered("can"),
    _steered("square"),
    _steered("lift", "flow"),
    _steered("libero_spatial"),
    _steered("libero_object"),
    _steered("libero_goal"),
    *map(_paper_steered, (26, 31, 38, 59)),
    *map(_paper, (60, 64)),
    _beside_unsteered("ogbench_scene_1", "OGBench", _SCENE, "flow", "best_of_n"),
    Clip(
        "swapped_instruction",
        "Another instruction",
        _TOLD,
        f'{_TOLD} task.instruction="{_SWAPPED}"',
        ("unsteered", "unsteered"),
        f"`mini_vla_strong`, told its task beside told to {_SWAPPED}: the task's own goal is then missed, rightly",
        differs=False,
    ),
)
#: What stands above the clips of a section.
_SECTIONS = {
    "The six main tasks": "The policies are imperfect on purpose: [Shipped policies](policies.md).",
    PAPER: "The first ones have critics of [the study](study.md). The others have none yet: two policies from pictures "
    "and language, a weak one and a strong one.",
    "OGBench": "The critic knows recorded play alone: [Offline to online](offline_to_online.md#a-first-run).",
    "Another instruction": "The same start, weights and noise; only the sentence differs.",
}


def make(clip: Clip) -> dict[str, Any]:
    """Play the clip's episodes, draw it, and return what the page says of it."""
    folders = [RUNS / name for name in clip.runs]
    left, right = _played(clip, folders)
    size = _encode(_drawn(clip, folders, left.episode), clip.file)
    return {
        "episode": left.episode,
        "env_seed": left.env_seed,
        "noise_seed": left.noise_seed,
        "strength": right.strength,
        "instruction": left.instruction,
        "steps": [left.steps, right.steps],
        "bytes": size,
    }


def _played(clip: Clip, folders: Sequence[Path]) -> tuple[Record, Record]:
    """Play until an episode is as the clip wants it: the records of its columns. Raises RunError if none is."""
    for episodes in ROUNDS if clip.differs else (1,):
        for folder, options in zip(folders, clip.runs.values(), strict=True):
            played = len(read_run(folder).records) // len(set(clip.samplers)) if (folder / CONFIG).exists() else 0
            if played < episodes:
                _sim_eval("evaluate", *options, f"episodes={episodes}", f"output={folder}")
        if pair := _pair(clip, [read_run(folder) for folder in folders]):
            return pair
    raise RunError(f"{clip.name}: of {ROUNDS[-1]} episodes none that the right column alone solves")


def _pair(clip: Clip, runs: Sequence[Run]) -> tuple[Record, Record] | None:
    left, right = (
        {record.episode: record for record in run.records if record.sampler == sampler}
        for run, sampler in zip((runs[0], runs[-1]), clip.samplers, strict=True)
    )
    found = (episode for episode in sorted(left) if right[episode].success and not left[episode].success)
    episode = next(found, None) if clip.differs else 0
    return None if episode is None else (left[episode], right[episode])


def _drawn(clip: Clip, folders: Sequence[Path], episode: int) -> Path:
    """The video of both columns."""
    output = VIDEOS / clip.name
    beside = [f"beside={folders[1]}"] if len(folders) > 1 else ["side_by_side=true"]
    chosen = [f"episodes={episode}", f"samplers={','.join(dict.fromkeys(clip.samplers))}"]
    drawing = [f"size={SIZE}", f"every={EVERY}", "observed=false", "workers=0", "overwrite=true"]
    _sim_eval("render", str(folders[0]), *beside, *chosen, *drawing, f"output={output}")
    (video,) = output.glob(f"*-{episode:04d}.mp4")
    return video


def _sim_eval(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "sim_eval", *arguments], check=True, cwd=ROOT)


def _encode(video: Path, path: Path) -> int:
    """Write the video as an animated WebP, which plays without controls where Markdown has a picture; its bytes."""
    frames = imageio_ffmpeg.read_frames(video, pix_fmt="rgb24")
    meta = next(frames)
    width, height = meta["size"]
    first, *others = (Image.frombytes("RGB", (width, height), frame) for frame in frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    motion: dict[str, Any] = {"duration": round(1000 / meta["fps"] / FASTER), "loop": 0}
    with replacing(path) as part:
        first.save(part, "WEBP", save_all=True, append_images=others, quality=QUALITY, method=6, **motion)
    return path.stat().st_size


def page(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of the clips that were made. `facts`: what `make` returned for each of them, by name."""
    parts = [_INTRODUCTION]
    for section in dict.fromkeys(clip.section for clip in CLIPS):
        clips = [clip for clip in CLIPS if clip.section == section and clip.name in facts]
        if not clips:
            continue
        parts += [f"## {section}", _SECTIONS[section], *(_figure(clip, facts[clip.name]) for clip in clips)]
    return "\n\n".join(parts) + "\n"


def _figure(clip: Clip, fact: Mapping[str, Any]) -> str:
    picture = f"![{clip.name}: {clip.caption.replace('`', '')}](pictures/gallery/{clip.file.name})"
    at = "" if fact["strength"] is None else f" at strength {fact['strength']:g}"
    key = f"episode {fact['episode']} (environment seed {fact['env_seed']}, noise seed {fact['noise_seed']})"
    options = [clip.left] if clip.left == clip.right else [clip.left, clip.right]
    typed = "; beside ".join(f"`{option}`" for option in options)
    return f"{picture}\n\n{clip.caption}{at}. {typed}, {key}: {' and '.join(map(str, fact['steps']))} control steps."


def main(names: Sequence[str]) -> None:
    """Make the named clips, or all, and write the page."""
    facts = json.loads(FACTS.read_text()) if FACTS.exists() else {}
    known = [clip.name for clip in CLIPS]
    if unknown := [name for name in names if name not in known]:
        raise RunError(f"clip is {unknown[0]}; accepted: {', '.join(known)}")
    for clip in CLIPS:
        if not names or clip.name in names:
            facts[clip.name] = make(clip)
            FACTS.write_text(json.dumps(facts, indent=1) + "\n")
    PAGE.write_text(page(facts), encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RunError as error:
        sys.exit(str(error))
