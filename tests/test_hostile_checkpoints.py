"""LeRobot folders that want to do harm, or are damaged: one line each, and nothing runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import tiny_lerobot
from policies.errors import PolicyError
from policies.lerobot import build
from policies.lerobot.steps import POST, PRE

pytestmark = pytest.mark.usefixtures("offline")

NORMALISER, UNNORMALISER = "normalizer_processor", "unnormalizer_processor"


@pytest.fixture(scope="module")
def act(offline: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lerobot.act(tmp_path_factory.mktemp("act"))


@pytest.fixture
def copy(act: Path, tmp_path: Path) -> Path:
    return shutil.copytree(act, tmp_path / "copy")


def change_step(folder: Path, file: str, step: dict[str, Any], name: str | None = None) -> None:
    """Change the step of this name, or put another one in front."""
    content = json.loads((folder / file).read_text())
    if name is None:
        content["steps"].insert(0, step)
    else:
        next(each for each in content["steps"] if each["registry_name"] == name).update(step)
    (folder / file).write_text(json.dumps(content))


def refusal(folder: Path) -> str:
    with pytest.raises(PolicyError) as error:
        build(str(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("file", [PRE, POST])
@pytest.mark.parametrize(
    "step",
    [
        {"class": "os.system", "config": {"command": "touch {}"}},
        {"class": "subprocess.Popen", "config": {"args": ["touch", "{}"]}},
        {"class": "lerobot.processor.normalize_processor.NormalizerProcessorStep", "config": {}},
        {"class": "os.system", "registry_name": "device_processor", "config": {"command": "touch {}"}},
        {"registry_name": "action_tokenizer_processor", "config": {"action_tokenizer_name": "a/b"}},
        {"registry_name": "groot_eagle_encode_v3", "config": {}},
        {"registry_name": ["device_processor"]},
        {"registry_name": None},
        {},
        "os.system",
    ],
    ids=str,
)
def test_only_known_steps_are_accepted(copy: Path, tmp_path: Path, file: str, step: Any) -> None:
    mark = tmp_path / "mark"
    change_step(
        copy, file, json.loads(json.dumps(step).replace("touch {}", f"touch {mark}").replace('"{}"', f'"{mark}"'))
    )
    assert f"{file}: step 0" in refusal(copy)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["../elsewhere.safetensors", "/etc/passwd", ".hidden.safetensors", "a/b.safetensors", "state.pt", 3, ["x"]]
)
def test_a_state_lies_in_the_folder(copy: Path, name: Any) -> None:
    shutil.copy(next(copy.glob("*step*.safetensors")), copy.parent / "elsewhere.safetensors")
    change_step(copy, PRE, {"state_file": name}, NORMALISER)
    assert "accepted: a .safetensors file of the folder" in refusal(copy)


@pytest.mark.parametrize("file", ["config.json", PRE, POST])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"3",
        b'{"steps": 3, "type": 3}',
        b'{"steps": null, "type": ["act"]}',
        b'\xef\xbb\xbf{"type": "act", "steps": []}',
        b'{"type": "\\ud800"}',
        b'{"type": "act", "chunk_size": 1' + b"0" * 400 + b"}",
        b'{"type": "act", "dim_model": NaN}',
        b"[" * 100_000,
        b" " * 2_000_000,
        b"\xff\xfe",
    ],
    ids=range(13),
)
def test_a_file_that_holds_no_object_is_one_line(copy: Path, file: str, content: bytes) -> None:
    (copy / file).write_bytes(content)
    assert file in refusal(copy)


def test_a_pipe_is_no_file(copy: Path) -> None:
    (copy / PRE).unlink()
    os.mkfifo(copy / PRE)
    assert PRE in refusal(copy)


@pytest.mark.parametrize(
    "values",
    [
        {"type": "groot"},
        {"type": "pi0_fast"},
        {"chunk_size": 10**9},
        {"chunk_size": -1},
        {"n_action_steps": "many"},
        {"dim_model": 200_000},
        {"dim_model": 31},
        {"n_encoder_layers": 10**8},
        {"n_heads": 0},
        {"vision_backbone": "os.system"},
        {"input_features": None},
        {"output_features": {}},
        {"output_features": {"action": {"type": "ACTION", "shape": [10**8]}}},
        {"output_features": {"action": {"type": "ACTION", "shape": []}}},
        {"normalization_mapping": {"ACTION": "SOMEHOW"}},
        {"device": "os.system"},
    ],
    ids=str,
)
def test_values_that_no_policy_has(copy: Path, values: dict[str, Any]) -> None:
    content = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**content, **values}))
    assert str(copy) in refusal(copy)


@pytest.mark.parametrize("file", [PRE, POST])
@pytest.mark.parametrize(
    "how", ["renamed", "missing", "none", "no step", "NaN", "another size", "whole numbers", "identity", "negative"]
)
def test_what_is_normalised_has_statistics(copy: Path, file: str, how: str) -> None:
    """The library leaves what has no statistics as it is, and says nothing."""
    name, feature = (NORMALISER, "observation.state") if file == PRE else (UNNORMALISER, "action")
    content = json.loads((copy / file).read_text())
    step = next(each for each in content["steps"] if each["registry_name"] == name)
    state = load_file(copy / step["state_file"])
    if how == "renamed":
        state = {f"so100.buffer.{key}": value for key, value in state.items()}
    elif how == "missing":
        del state[f"{feature}.std"]
    elif how == "none":
        del step["state_file"]
    elif how == "no step":
        content["steps"].remove(step)
    elif how == "identity":
        step["config"]["norm_map"] = {}
    elif how == "negative":
        state[f"{feature}.std"] = -state[f"{feature}.std"]
    else:
        changed = {
            "NaN": state[f"{feature}.mean"] * torch.nan,
            "another size": state[f"{feature}.mean"][:1],
            "whole numbers": state[f"{feature}.mean"].long(),
        }
        state[f"{feature}.mean"] = changed[how]
    if "state_file" in step:
        save_file(state, copy / step["state_file"])
    (copy / file).write_text(json.dumps(content))
    assert f"{file}: {feature}" in refusal(copy)


def test_weights_of_another_number_format_are_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    name = next(key for key in weights if "action_head.weight" in key)
    save_file({**weights, name: weights[name].long()}, copy / "model.safetensors")
    assert f"{name} in model.safetensors is I64; accepted: F32, BF16, F16" in refusal(copy)


@pytest.mark.parametrize("eps", ["small", None, -1, 2, [1]])
def test_a_normaliser_adds_a_small_number(copy: Path, eps: Any) -> None:
    content = json.loads((copy / POST).read_text())
    next(each for each in content["steps"] if each["registry_name"] == UNNORMALISER)["config"]["eps"] = eps
    (copy / POST).write_text(json.dumps(content))
    assert "eps is " in refusal(copy)
