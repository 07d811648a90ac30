"""The clips of docs/gallery.md: small, moving, and made by commands that are accepted."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from scripts import gallery
from sim_eval.config.command_line import read
from sim_eval.evaluation.options import EvaluateOptions

FACTS = json.loads(gallery.FACTS.read_text())


def test_the_page_is_what_the_clips_say() -> None:
    """`python -m scripts.gallery` writes it."""
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.page(FACTS)
    files = [clip.file for clip in gallery.CLIPS if clip.name in FACTS]
    assert sorted(gallery.CLIPS_FOLDER.glob("*.webp")) == sorted(files)
    assert sum(file.stat().st_size for file in files) < gallery.MOST_OF_ALL


@pytest.mark.parametrize("name", FACTS)
def test_a_clip_moves_and_is_small(name: str) -> None:
    file = gallery.CLIPS_FOLDER / f"{name}.webp"
    assert file.stat().st_size == FACTS[name]["bytes"] < gallery.MOST
    with Image.open(file) as clip:
        assert getattr(clip, "n_frames", 1) > 20
        assert clip.width < 640


@pytest.mark.parametrize("clip", gallery.CLIPS, ids=lambda clip: clip.name)
def test_a_clips_options_are_accepted(clip: gallery.Clip) -> None:
    for options in clip.runs.values():
        assert set(clip.samplers) >= set(read(EvaluateOptions, [*options, "episodes=4"]).sampler)
