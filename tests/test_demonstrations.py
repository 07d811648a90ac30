"""Demonstration files: ours come back, a public robomimic file loads, and a bad one is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sim_eval.training.trajectories import DatasetError, Trajectory, chunks_of, read_hdf5, write_hdf5


def trajectory(steps: int, success: bool, seed: int = 0) -> Trajectory:
    rng = np.random.default_rng(seed)
    observations = {"object": rng.standard_normal((steps, 14)).astype(np.float32)}
    return Trajectory(observations, rng.uniform(-1, 1, (steps, 7)).astype(np.float32), success)


def test_what_is_written_comes_back_in_order(tmp_path: Path) -> None:
    written = [trajectory(3 + index, success=index % 2 == 0, seed=index) for index in range(12)]
    write_hdf5(tmp_path / "demos.hdf5", written, "Lift")
    read = read_hdf5(tmp_path / "demos.hdf5")
    assert [t.success for t in read] == [t.success for t in written]
    for back, given in zip(read, written, strict=True):
        np.testing.assert_array_equal(back.actions, given.actions)
        np.testing.assert_array_equal(back.observations["object"], given.observations["object"])


def test_a_public_robomimic_low_dim_file_loads(tmp_path: Path) -> None:
    """The layout of robomimic v0.1 low_dim.hdf5: float64 arrays, next_obs, states, a mask group, env_args."""
    path = tmp_path / "low_dim.hdf5"
    rng = np.random.default_rng(0)
    sizes = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "object": 10, "robot0_joint_pos": 7}
    with h5py.File(path, "w") as file:
        file.create_dataset("mask/train", data=np.array([b"demo_0", b"demo_10"]))
        file.create_group("data").attrs["env_args"] = '{"env_name": "Lift", "type": 1, "env_kwargs": {}}'
        for name, length in (("demo_0", 9), ("demo_2", 5), ("demo_10", 7)):
            demo = file["data"].create_group(name)
            demo.attrs["num_samples"] = length
            demo["actions"] = rng.uniform(-1, 1, (length, 7))
            demo["states"] = rng.standard_normal((length, 32))
            demo["rewards"] = np.eye(length)[-1] if name != "demo_2" else np.zeros(length)
            demo["dones"] = np.eye(length, dtype=np.int64)[-1]
            for key, size in sizes.items():
                demo[f"obs/{key}"] = rng.standard_normal((length, size))
                demo[f"next_obs/{key}"] = rng.standard_normal((length, size))
    read = read_hdf5(path, ["robot0_eef_pos", "object"])
    assert [len(t.actions) for t in read] == [9, 5, 7]  # by number, not by spelling
    assert [t.success for t in read] == [True, False, True]
    assert {name: v.shape[1] for name, v in read[0].observations.items()} == {"robot0_eef_pos": 3, "object": 10}
    assert read[0].actions.dtype == read[0].observations["object"].dtype == np.float32


def test_a_public_libero_file_loads_under_robomimics_names(tmp_path: Path) -> None:
    """The layout of LIBERO's demonstration files: uint8 rewards, pictures, an axis-angle beyond pi, no `object`."""
    path = tmp_path / "task_demo.hdf5"
    rng = np.random.default_rng(0)
    quaternion = np.array([0.99, 0.01, 0.05, -0.13])
    quaternion /= np.linalg.norm(quaternion)
    angle = 2 * np.arccos(quaternion[3])  # robosuite's own conversion: more than pi where w is negative
    axis_angle = quaternion[:3] / np.sqrt(1 - quaternion[3] ** 2) * angle
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        demo["actions"], demo["states"] = rng.uniform(-1, 1, (6, 7)), rng.standard_normal((6, 92))
        demo["rewards"] = demo["dones"] = np.eye(6, dtype=np.uint8)[-1]
        demo["robot_states"] = rng.standard_normal((6, 9))
        sizes = {"ee_pos": 3, "ee_states": 6, "gripper_states": 2, "joint_states": 7}
        for key, size in sizes.items():
            demo[f"obs/{key}"] = rng.standard_normal((6, size))
        demo["obs/ee_ori"] = np.tile(axis_angle, (6, 1))
        demo["obs/agentview_rgb"] = demo["obs/eye_in_hand_rgb"] = np.zeros((6, 128, 128, 3), np.uint8)
        position = demo["obs/ee_pos"][:]
    (read,) = read_hdf5(path)
    assert sorted(read.observations) == [
        *("ee_states", "joint_states", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
    ]
    np.testing.assert_allclose(read.observations["robot0_eef_pos"], position, atol=1e-6)
    np.testing.assert_allclose(read.observations["robot0_eef_quat"], np.tile(quaternion, (6, 1)), atol=1e-6)
    assert read.success
    assert read.actions.shape == (6, 7)
    with pytest.raises(DatasetError, match=r"demo_0 has no 'obs/object'; there are agentview_rgb, ee_ori"):
        read_hdf5(path, ["object"])


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "demos.hdf5"
    with pytest.raises(DatasetError, match=r"demos\.hdf5: no such file"):
        read_hdf5(path)
    path.write_bytes(b"not hdf5")
    with pytest.raises(DatasetError, match="not a readable HDF5 file"):
        read_hdf5(path)
    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(DatasetError, match="no group 'data'"):
        read_hdf5(path)
    write_hdf5(path, [trajectory(4, True)], "lift")
    with pytest.raises(DatasetError, match=r"demo_0 has no 'obs/robot0_eef_pos'; there are object"):
        read_hdf5(path, ["robot0_eef_pos"])


def test_chunks_repeat_the_last_action_past_the_end() -> None:
    actions = np.arange(5, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(
        chunks_of(actions, 3)[:, :, 0], [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4], [4, 4, 4]]
    )


def one_observation_too_many(data: h5py.Group) -> None:
    """40 observations and 39 actions: every later row would be shifted by one."""
    del data["demo_1/actions"], data["demo_1/rewards"]
    data["demo_1/actions"], data["demo_1/rewards"] = np.zeros((3, 7)), np.zeros(3)


def not_a_number(data: h5py.Group) -> None:
    data["demo_1/obs/object"][2, 3] = np.nan


def another_size(data: h5py.Group) -> None:
    del data["demo_1/obs/object"]
    data["demo_1/obs/object"] = np.zeros((4, 10), np.float32)


def no_demonstration(data: h5py.Group) -> None:
    for name in ("demo_0", "demo_1"):
        data.move(name, f"trajectory_{name}")


def no_step(data: h5py.Group) -> None:
    del data["demo_1"]
    data["demo_1/obs/object"], data["demo_1/actions"] = np.zeros((0, 14)), np.zeros((0, 7))
    data["demo_1/rewards"] = np.zeros(0)


def empty(data: h5py.Group) -> None:
    del data["demo_0"], data["demo_1"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (one_observation_too_many, r"data/demo_1/obs/object has 4 rows for 3 actions; accepted: a row for each"),
        (not_a_number, r"data/demo_1/obs/object holds NaN or infinity"),
        (another_size, r"data/demo_1 has arrays of sizes .*'obs/object': 10.*, data/demo_0 of .*'obs/object': 14"),
        (no_demonstration, r"no demonstration demo_0, demo_1, ...; there are trajectory_demo_0"),
        (no_step, "data/demo_1 holds no step"),
        (empty, r"data holds no demonstration demo_0, demo_1, \.\.\.$"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(
    tmp_path: Path, damage: Callable[[h5py.Group], None], message: str
) -> None:
    path = tmp_path / "demos.hdf5"
    write_hdf5(path, [trajectory(4, True), trajectory(4, False, seed=1)], "lift")
    with h5py.File(path, "r+") as file:
        damage(file["data"])
    with pytest.raises(DatasetError, match=message):
        read_hdf5(path)


def test_what_each_decision_saw_comes_back(tmp_path: Path) -> None:
    """Pictures and words at every third step, beside the state at every step."""
    plain = trajectory(8, True)
    pictures = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    words = np.array(["reach the origin"] * 3)
    written = replace(plain, decisions={"agentview_image": pictures, "instruction": words}, stride=3)
    write_hdf5(tmp_path / "rollouts.hdf5", [written], "lift")
    (read,) = read_hdf5(tmp_path / "rollouts.hdf5")
    assert list(read.decision_steps) == [0, 3, 6]
    np.testing.assert_array_equal(read.decision(2)["agentview_image"], pictures[2])
    np.testing.assert_array_equal(np.asarray(read.decisions["agentview_image"]), pictures)
    assert read.decision(1)["instruction"] == "reach the origin"
    np.testing.assert_array_equal(read.state(1)["object"], plain.observations["object"][3])
    (tmp_path / "rollouts.hdf5").unlink()
    with pytest.raises(DatasetError, match=r"rollouts.hdf5: /data/demo_0/decisions/agentview_image can no longer be"):
        read.decision(0)


def outside(tmp_path: Path) -> Path:
    """Another file, which a reader must not open."""
    write_hdf5(tmp_path / "other.hdf5", [trajectory(4, True)], "lift")
    return tmp_path / "other.hdf5"


def external_link(data: h5py.Group, tmp_path: Path) -> None:
    del data["demo_1/actions"]
    data["demo_1/actions"] = h5py.ExternalLink(outside(tmp_path), "data/demo_0/actions")


def link_to_a_pipe(data: h5py.Group, tmp_path: Path) -> None:
    """Its reader would wait for ever."""
    os.mkfifo(tmp_path / "pipe.hdf5")
    del data["demo_1"]
    data["demo_1"] = h5py.ExternalLink(tmp_path / "pipe.hdf5", "data")


def soft_link_over_an_external_one(data: h5py.Group, tmp_path: Path) -> None:
    data["elsewhere"] = h5py.ExternalLink(outside(tmp_path), "data/demo_0")
    del data["demo_1/obs"]
    data["demo_1/obs"] = h5py.SoftLink("/data/elsewhere/obs")


def virtual(data: h5py.Group, tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((4, 7), "f4")
    layout[:] = h5py.VirtualSource(outside(tmp_path), "data/demo_0/actions", (4, 7))
    del data["demo_1/actions"]
    data["demo_1"].create_virtual_dataset("actions", layout)


def external_storage(data: h5py.Group, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(4 * 7 * 4))
    del data["demo_1/actions"]
    data["demo_1"].create_dataset("actions", (4, 7), "f4", external=[(str(tmp_path / "raw"), 0, 112)])


def texts(data: h5py.Group, tmp_path: Path) -> None:
    del data["demo_1/actions"]
    data["demo_1/actions"] = np.array([b"a", b"b"])


def complex_numbers(data: h5py.Group, tmp_path: Path) -> None:
    del data["demo_1/rewards"]
    data["demo_1/rewards"] = np.zeros(4, np.complex64)


def a_group(data: h5py.Group, tmp_path: Path) -> None:
    del data["demo_1/actions"]
    data.create_group("demo_1/actions")


def a_number(data: h5py.Group, tmp_path: Path) -> None:
    del data["demo_1/rewards"]
    data["demo_1/rewards"] = 1.0


def an_array_for_a_demonstration(data: h5py.Group, tmp_path: Path) -> None:
    del data["demo_1"]
    data["demo_1"] = np.zeros(3)


def more_than_the_memory(data: h5py.Group, tmp_path: Path) -> None:
    """No row is stored, all are 0: the file stays small."""
    del data["demo_1/actions"]
    data["demo_1"].create_dataset("actions", (10**9, 7), "f4", chunks=(1000, 7))


def never_written(data: h5py.Group, tmp_path: Path) -> None:
    """Small enough for one array: a file of many such would fill the memory."""
    del data["demo_1/actions"]
    data["demo_1"].create_dataset("actions", (10**6, 7), "f4", chunks=(1000, 7))


def poses(data: h5py.Group, tmp_path: Path) -> None:
    data["demo_1/actions"][2, 0] = 1.7


def no_stride(data: h5py.Group, tmp_path: Path) -> None:
    data["demo_1"].attrs["stride"] = 0


def many_strides(data: h5py.Group, tmp_path: Path) -> None:
    data["demo_1"].attrs["stride"] = np.arange(3)


def a_decision_too_many(data: h5py.Group, tmp_path: Path) -> None:
    data["demo_1/decisions/object"] = np.zeros((5, 3), np.float32)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (external_link, "/data/demo_1/actions is a link; accepted: what lies in the file itself"),
        (link_to_a_pipe, "/data/demo_1 is a link"),
        (soft_link_over_an_external_one, "/data/demo_1/obs is a link"),
        (virtual, "/data/demo_1/actions lies in another file"),
        (external_storage, "/data/demo_1/actions lies in another file"),
        (texts, r"/data/demo_1/actions holds \|S1; accepted: numbers"),
        (complex_numbers, "/data/demo_1/rewards holds complex64; accepted: numbers"),
        (a_group, "/data/demo_1/actions is no array"),
        (a_number, r"/data/demo_1/rewards has the shape \(\)"),
        (an_array_for_a_demonstration, "/data/demo_1 is no group"),
        (more_than_the_memory, r"/data/demo_1/actions has the shape \(1000000000, 7\)"),
        (never_written, "/data/demo_1/actions has 28000000 bytes of which the file stores 0"),
        (poses, "data/demo_1/actions has entries up to 1.7; accepted: -1 to 1"),
        (no_stride, "data/demo_1: attribute stride is 0"),
        (many_strides, r"attribute stride of /data/demo_1 is array"),
        (a_decision_too_many, "data/demo_1/decisions/object has 5 rows; accepted: 4"),
    ],
)
def test_what_lies_elsewhere_or_is_no_number_is_refused(
    tmp_path: Path, damage: Callable[[h5py.Group, Path], None], message: str
) -> None:
    path = tmp_path / "demos.hdf5"
    write_hdf5(path, [trajectory(4, True), trajectory(4, False, seed=1)], "lift")
    with h5py.File(path, "r+") as file:
        damage(file["data"], tmp_path)
    with pytest.raises(DatasetError, match=message):
        read_hdf5(path)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"env_name": "NutAssembly"}, "env_name of env_args is 'NutAssembly'; accepted for task lift: Lift"),
        ({"env_name": ["Lift"]}, "env_name of env_args is"),
        ({"env_kwargs": {"controller_configs": {"control_delta": False}}}, "its actions are absolute"),
        (
            {"env_kwargs": {"controller_configs": {"body_parts": {"right": {"input_type": "absolute"}}}}},
            "its actions are absolute",
        ),
        ([], "attribute env_args of /data is '\\[\\]'; accepted: a JSON object"),
        ({"env_name": 10**400}, "env_args"),
    ],
)
def test_demonstrations_of_another_environment_are_refused(tmp_path: Path, described: Any, message: str) -> None:
    write_hdf5(tmp_path / "demos.hdf5", [trajectory(4, True)], "lift")
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        file["data"].attrs["env_args"] = json.dumps(described)
    with pytest.raises(DatasetError, match=message):
        read_hdf5(tmp_path / "demos.hdf5", task="lift")


def test_another_version_of_the_simulator_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_hdf5(tmp_path / "demos.hdf5", [trajectory(4, True)], "lift")
    with h5py.File(tmp_path / "demos.hdf5", "r+") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "env_version": "1.4.1"})
    assert len(read_hdf5(tmp_path / "demos.hdf5", task="lift")) == 1
    assert "was recorded with robosuite 1.4.1, " in capsys.readouterr().err
