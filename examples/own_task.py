"""A task of your own, in MuJoCo: push a puck onto a mark. Run it: python examples/own_task.py"""

import hashlib
from collections.abc import Mapping, Sequence

import mujoco
import numpy as np
import torch

import sim_eval
from sim_eval import ArraySpec, Outcome, TaskSpec

XML = """<mujoco><worldbody><light pos="0 0 2"/><camera name="top" pos="0 0 3"/><body name="puck">
<joint name="x" type="slide" axis="1 0 0" damping="4"/><joint name="y" type="slide" axis="0 1 0" damping="4"/>
<geom type="cylinder" size=".05 .02" mass="1"/></body></worldbody>
<actuator><motor joint="x" gear="4"/><motor joint="y" gear="4"/></actuator></mujoco>"""


class Puck(sim_eval.Task):
    """Push the puck to within 5 cm of the origin in 60 steps of 0.05 s."""

    action, seen = ArraySpec((2,), low=-1, high=1), {"position": ArraySpec((2,))}
    spec = TaskSpec("puck", "push the puck onto the mark", 60, 20, action, seen, cameras=("top",))

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)

    def reset(self, key: sim_eval.EpisodeKey) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = np.random.default_rng(key.env_seed).uniform(-0.8, 0.8, 2)
        self.left = self.spec.max_steps

    def step(self, action: np.ndarray) -> Outcome:
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, nstep=25)
        self.left -= 1
        success = bool(np.linalg.norm(self.data.qpos) < 0.05)
        return Outcome(float(success), success, done=success or self.left == 0)

    def observe(self, request: object) -> dict:
        return {"position": self.data.qpos.astype(np.float32)}

    def frame(self, camera: str, size: int) -> np.ndarray:
        with mujoco.Renderer(self.model, size, size) as renderer:
            renderer.update_scene(self.data, camera)
            return renderer.render()

    def save(self) -> tuple:  # only the exact look-ahead needs `save` and `restore`
        state = np.empty(mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(self.model, self.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        return self.left, state

    def restore(self, state: tuple) -> None:
        self.left, physics = state
        mujoco.mj_setState(self.model, self.data, physics, mujoco.mjtState.mjSTATE_INTEGRATION)

    def state_hash(self) -> str:
        return hashlib.sha256(self.data.qpos.tobytes() + self.data.qvel.tobytes()).hexdigest()


class Push(sim_eval.Policy):
    """A noisy spring to the origin: a black-box policy, enough for `unsteered` and `best_of_n`."""

    request, horizon, execute, action_dim = sim_eval.ObservationRequest(("position",)), 4, 4, 2

    def sample(self, observation: Mapping, generators: Sequence, copies: int = 1) -> torch.Tensor:
        pull = -2 * torch.from_numpy(observation["position"]).repeat_interleave(copies, dim=0)
        noise = [torch.randn(4, 2, generator=generator) for generator in generators for _ in range(copies)]
        return pull[:, None] + 0.5 * torch.stack(noise)


if __name__ == "__main__":
    run = sim_eval.evaluate(task=Puck, policy=Push(), critic="none", episodes=10, output="runs/puck")
    print(sim_eval.read_runs(run.folder)[["episode", "success", "steps"]])
