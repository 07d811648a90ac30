"""LeRobot finds the suite's tasks by its EnvHub, and its own evaluation runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from scipy.spatial.transform import Rotation

from benchmarks import tiny_lerobot
from policies.lerobot import library
from policies.observation import ObservationRequest
from tasks import EpisodeKey
from tests.shared_tasks import shared_task

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "lerobot_env.py"
COMMIT = "0" * 40


@pytest.mark.usefixtures("offline")
def test_lerobots_evaluation_runs_a_task_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "hub/models--owner--name/snapshots" / COMMIT  # where the hub's client keeps a repository
    snapshot.mkdir(parents=True)
    shutil.copy(EXAMPLE, snapshot / "env.py")
    found = library.module("envs.factory").make_env(
        f"owner/name@{COMMIT}", n_envs=2, hub_cache_dir=str(tmp_path / "hub"), trust_remote_code=True
    )
    vector = found["sim_eval/LiberoGoal-v0"][0]
    assert vector.call("task_description") == ("open the middle layer of the drawer",) * 2
    assert vector.call("_max_episode_steps") == (300, 300)

    observation, info = vector.reset(seed=[0, 1])
    task = shared_task("libero_goal")
    hashes = []
    for env_seed in (0, 1):
        task.reset(EpisodeKey("libero_goal", 0, env_seed, 0))
        hashes.append(task.state_hash())
    assert info["start_hash"].tolist() == hashes
    quaternion = task.observe(ObservationRequest(("robot0_eef_quat",)))["robot0_eef_quat"]
    turned = Rotation.from_rotvec(observation["agent_pos"][1, 3:6]).inv() * Rotation.from_quat(quaternion)
    assert turned.magnitude() < 1e-5

    vector.set_attr("_max_episode_steps", 4)
    folder = tiny_lerobot.act(tmp_path / "act")
    policy = library.module("policies.act.modeling_act").ACTPolicy.from_pretrained(folder)
    before, after = library.module("policies.factory").make_pre_post_processors(
        policy.config, pretrained_path=str(folder)
    )
    nothing = library.module("processor").PolicyProcessorPipeline(steps=[])
    evaluation = library.module("scripts.lerobot_eval")
    told = evaluation.eval_policy(vector, policy, nothing, nothing, before, after, n_episodes=2, start_seed=0)
    assert [episode["success"] for episode in told["per_episode"]] == [False, False]
    vector.close()
