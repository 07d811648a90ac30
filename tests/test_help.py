"""What `--help` says of each option."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import sim_eval.config.compose
from sim_eval.config.compose import CONFIGS, help_text

COMMANDS = [
    "compare", "eval", "export", "learn", "plan", "probe", "render", "serve", "sweep", "train", "train_vla", "view"
]  # fmt: skip


def meanings(name: str) -> dict[str, str]:
    """Option to meaning, as `--help` shows them."""
    lines = [line.split(maxsplit=1) for line in help_text(name, "usage").splitlines() if line.startswith("  ")]
    return {option.partition("=")[0]: meaning for option, meaning in lines}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_the_comment_on_its_own_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy of the files whose comments say where they stand."""
    copy = shutil.copytree(CONFIGS, tmp_path / "configs")
    for file in copy.glob("*.yaml"):
        lines = enumerate(file.read_text().splitlines())
        file.write_text("\n".join(re.sub(r"(\w+)(:.*  # ).*", rf"\1\2{file.stem}-{n}-\1", line) for n, line in lines))
    monkeypatch.setattr(sim_eval.config.compose, "CONFIGS", copy)
    shown = meanings(name)
    assert [option.rpartition(".")[2] for option in shown] == [comment.split("-")[2] for comment in shown.values()]
    assert len(set(shown.values())) == len(shown), "no comment is shown twice"


def test_options_of_the_same_name_have_their_own_meanings() -> None:
    learn, train = meanings("learn"), meanings("train")
    assert learn["steps"] == "environment steps to play, steered"
    assert learn["sampler.qpilots_u.steps"] == "denoising steps"
    assert learn["sampler.vgps.n"] != learn["sampler.best_of_n.n"]
    assert train["demos"] == "number of demonstrations"
    assert train["critic.demos"].startswith("list of robomimic files")
