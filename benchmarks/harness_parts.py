"""CPU seconds of the parts of an episode, for `benchmarks.harnesses`.

usage: PYTHON harness_parts.py lerobot|vla_eval|sim_eval SUITE TASK POLICY N_ACTION_STEPS

Runs by itself under the interpreter of each program, so it imports what that program has. Prints JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

_REPEATS = 10
_IMAGE_SIZE = 256
_CAMERAS = ("agentview", "robot0_eye_in_hand")
_FRAMES = 300
_STILL = np.array([0.0] * 6 + [-1.0], dtype=np.float32)


def cpu_seconds(work: Callable[[], Any], repeats: int = _REPEATS) -> float:
    """CPU seconds of this process, all its threads, that one call takes on average; a first call is not counted."""
    work()
    before = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - before) / repeats


def lerobot_parts(suite: str, task: int, policy: str, n_action_steps: int) -> dict[str, float]:
    """The parts of lerobot-eval: LeRobot's LIBERO environment, its policy and its video."""
    import gymnasium
    from lerobot.envs.libero import create_libero_envs
    from lerobot.utils.io_utils import write_video

    options = {"task_ids": [task], "obs_type": "pixels_agent_pos"}
    environments = create_libero_envs(suite, 1, options, env_cls=gymnasium.vector.SyncVectorEnv)
    batch = environments[suite][task]
    start = time.process_time()
    observation, _ = batch.reset(seed=[1000])
    first_reset = time.process_time() - start
    environment = batch.envs[0].unwrapped
    robosuite = environment._env.env

    def draw() -> None:
        for camera in _CAMERAS:
            robosuite.sim.render(camera_name=camera, width=_IMAGE_SIZE, height=_IMAGE_SIZE, depth=False)

    figures = {
        "control step with what it draws": cpu_seconds(lambda: environment.step(_STILL)),
        "two pictures": cpu_seconds(draw),
        "reset with 10 settling steps": cpu_seconds(lambda: environment.reset(seed=1000), 1),
        **_policy_parts(batch, observation, policy, n_action_steps),
    }
    frames = np.stack([environment.render()] * _FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        figures[f"video of {_FRAMES} frames"] = cpu_seconds(lambda: write_video(str(video), frames, 80), 1)
    for name, observable in robosuite._observables.items():
        if name.endswith("_image"):
            observable.set_enabled(False)
    figures["control step without pictures"] = cpu_seconds(lambda: robosuite.step(_STILL))
    return {"first reset": first_reset, **figures}


def _policy_parts(batch: Any, observation: Any, path: str, n_action_steps: int) -> dict[str, float]:
    """A decision, and what lerobot-eval does with the observation at a control step without one."""
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.envs.utils import preprocess_observation
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.processor.env_processor import LiberoProcessorStep

    config = PreTrainedConfig.from_pretrained(path, cli_overrides=[f"--n_action_steps={n_action_steps}"])
    config.device = "cpu"
    policy = get_policy_class(config.type).from_pretrained(path, config=config)
    overrides = {"device_processor": {"device": "cpu"}}
    before, after = make_pre_post_processors(config, path, preprocessor_overrides=overrides)

    @torch.inference_mode()
    def act(decide: bool) -> None:
        policy.reset()
        if not decide:
            policy._queues["action"].append(torch.zeros(1, 7))
        seen = LiberoProcessorStep().observation(preprocess_observation(observation))
        after(policy.select_action(before({**seen, "task": list(batch.call("task_description"))})))

    return {
        "decision of the policy": cpu_seconds(lambda: act(True)),
        "processors at a step without decision": cpu_seconds(lambda: act(False)),
    }


def vla_eval_parts(suite: str, task: int, policy: str, n_action_steps: int) -> dict[str, float]:
    """The same parts of vla-eval, with its server in this process."""
    import anyio
    from vla_eval.api import serve_background
    from vla_eval.benchmarks.libero.benchmark import LIBEROBenchmark
    from vla_eval.connection import Connection
    from vla_eval.model_servers.lerobot import LeRobotModelServer

    # Before the simulation: the policy imports triton, which brings LLVM, as Mesa's renderer does; in the other order
    # the process crashes.
    kind = json.loads((Path(policy) / "config.json").read_text())["type"]
    cameras = {"agentview": "image", "wrist": "image2"}
    server = LeRobotModelServer(kind, policy, cameras, device="cpu", chunk_size=n_action_steps)
    benchmark = LIBEROBenchmark(suite=suite, send_wrist_image=True, send_state=True, quat_no_antipodal=True)
    chosen = {**benchmark.get_tasks()[task], "episode_idx": 0}
    start = time.process_time()
    anyio.run(benchmark.start_episode, chosen)
    first_reset = time.process_time() - start
    robosuite = benchmark._env.env
    seen = anyio.run(benchmark.get_observation)

    def draw() -> None:
        for camera in _CAMERAS:
            robosuite.sim.render(camera_name=camera, width=_IMAGE_SIZE, height=_IMAGE_SIZE, depth=False)

    async def exchange(url: str) -> float:
        """CPU seconds of both sides where the server has an action left."""
        seconds = 0.0
        async with Connection(url) as connection:
            await connection.start_episode({"task": {}})
            for step in range(n_action_steps * _REPEATS):
                before = time.process_time()
                await connection.act(seen)
                seconds += time.process_time() - before if step % n_action_steps else 0.0
        return seconds / max(1, (n_action_steps - 1) * _REPEATS)

    with serve_background(server) as served:
        exchanged = anyio.run(exchange, served.url)
    figures = {
        "control step with what it draws": cpu_seconds(lambda: benchmark.step({"actions": _STILL})),
        "two pictures": cpu_seconds(draw),
        "reset with 10 settling steps": cpu_seconds(lambda: benchmark.reset(chosen), 1),
        "decision of the policy": cpu_seconds(lambda: server.predict(seen, None)),
        "pictures to the server and an action back": exchanged,
    }
    for name, observable in robosuite._observables.items():
        if name.endswith("_image"):
            observable.set_enabled(False)
    figures["control step without pictures"] = cpu_seconds(lambda: robosuite.step(_STILL))
    return {"first reset": first_reset, **figures}


def sim_eval_parts(suite: str, task: int, policy: str, n_action_steps: int) -> dict[str, float]:
    """The same parts of sim-eval."""
    import tasks
    from policies import lerobot
    from sim_eval.rollout.inference import Decider, PendingDecision
    from sim_eval.samplers import Models, Unsteered
    from tasks import EpisodeKey

    built = tasks.make(suite, index=task)
    key = EpisodeKey(built.spec.name, 0, 0, 0)
    start = time.process_time()
    built.reset(key)
    first_reset = time.process_time() - start
    frozen = lerobot.build(policy, execute=n_action_steps, image_size=_IMAGE_SIZE)
    decider = Decider(Unsteered(), Models(frozen), "unsteered")
    pending = PendingDecision(key, 0, built.observe(frozen.request))
    return {
        "first reset": first_reset,
        "control step without pictures": cpu_seconds(lambda: built.step(_STILL)),
        "two pictures": cpu_seconds(lambda: built.observe(frozen.request)),
        "decision of the policy": cpu_seconds(lambda: decider.decide([pending])),
        "reset with 10 settling steps": cpu_seconds(lambda: built.reset(key), 3),
    }


def main() -> None:
    torch.set_num_threads(1)  # threads that wait for one another would count as work
    program, suite, task, policy, n_action_steps = sys.argv[1:]
    parts = {"lerobot": lerobot_parts, "vla_eval": vla_eval_parts, "sim_eval": sim_eval_parts}[program]
    figures = parts(suite, int(task), policy, int(n_action_steps))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
