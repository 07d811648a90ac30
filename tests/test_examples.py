"""The examples run as their docstrings say, each in a folder of its own, and do what they are there to show."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sim_eval
from sim_eval.commands import cli

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_documented(monkeypatch: pytest.MonkeyPatch, name: str) -> pd.DataFrame:
    """Run the command in the docstring of an example, with two episodes; a row for each that was recorded."""
    text = (ROOT / "examples" / name).read_text().replace("examples/", f"{ROOT}/examples/").replace("\\\n", " ")
    (command,) = [line.strip() for line in text.splitlines() if line.strip().startswith("sim-eval ")]
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), "episodes=2", "workers=0"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    return sim_eval.read_runs(*Path("runs").iterdir())


def test_own_policy_lifts_the_cube(monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = run_documented(monkeypatch, "own_policy.py")
    assert episodes.groupby("sampler").size().to_dict() == {"unsteered": 2, "qpilots_u": 2}
    assert set(episodes.policy) == {"own_policy"}
    assert episodes.success.any()
    assert episodes.mean_q.notna().all()


def test_own_critic_picks_chunks_that_it_values_more(monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = run_documented(monkeypatch, "own_critic.py")
    assert set(episodes.sampler) == {"best_of_n"}
    assert (episodes.mean_q < 0).all()  # minus a distance
    assert (episodes.critic_rows > 0).all()


def test_own_task_is_solved_by_its_policy() -> None:
    runpy.run_path(f"{ROOT}/examples/own_task.py", run_name="__main__")
    episodes = sim_eval.read_runs("runs/puck")
    assert set(episodes.task) == {"puck"}
    assert len(episodes) == 10
    assert episodes.success.mean() > 0.5


def test_own_task_goes_back_to_a_saved_state() -> None:
    task = runpy.run_path(f"{ROOT}/examples/own_task.py")["Puck"]()
    task.reset(sim_eval.EpisodeKey("puck", 0, 3, 0))
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    hashes = []
    for action in actions[:5]:
        task.step(action)
    state = task.save()
    for _ in range(3):
        task.restore(state)
        hashes.append([(task.step(action), task.state_hash()) for action in actions])
    assert hashes[0] == hashes[1] == hashes[2]


def test_the_loop_of_the_gymnasium_page(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "gymnasium.md").read_text(), re.DOTALL)
    assert code is not None
    exec(compile(code[1], "gymnasium.md", "exec"), {})
    assert re.fullmatch(r"False [0-9a-f]{64} lift the red cube\n", capsys.readouterr().out)
