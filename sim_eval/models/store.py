"""The checkpoint store: which files a folder of checkpoints holds, and how they are called. Loads nothing.

checkpoints/<task>/flow.safetensors  flow.json     frozen policies, one per family
                   diffusion.*
                   critic.*                        the default critic of these policies
                   critic_mini_vla.*               the default critic of another policy
                   posterior_flow.*                the posterior net of a policy
            all_tasks/mini_vla.*                   frozen policies that one set of weights serves every task
            ogbench_scene/flow.*                   those of a domain of OGBench, for its five tasks
"""

from __future__ import annotations

from pathlib import Path

from sim_eval.foundation.files import resource
from tasks.naming import domain_of

#: Where the shipped checkpoints are.
ROOT = resource("checkpoints")

#: The folder, and on cards the task, of policies for all tasks.
ALL_TASKS = "all_tasks"

#: The families of policies (`policies.family.FAMILIES`), whose default critic has no policy in its name.
FAMILIES = ("flow", "diffusion")

#: The default critic.
CRITIC = "critic"

_POSTERIOR = "posterior_"


def weights(folder: Path, name: str) -> Path:
    """The file of a checkpoint's weights."""
    return folder / f"{name}.safetensors"


def card(folder: Path, name: str) -> Path:
    """The file that describes a checkpoint."""
    return folder / f"{name}.json"


def critic_of(name: str) -> str:
    """The critic of a policy that is no family's, or by an objective."""
    return f"{CRITIC}_{name}"


def posterior_of(policy: str) -> str:
    """The posterior net of a policy."""
    return f"{_POSTERIOR}{policy}"


def task_folder(root: Path | None, task: str) -> Path:
    """The folder of the task's checkpoints in `root`, by default the shipped ones."""
    return (root or ROOT) / task


def names(folder: Path) -> list[str]:
    """Every checkpoint in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.safetensors"))


def own_policies(root: Path | None, task: str) -> list[str]:
    """The policies for this task, or its domain, alone in `root`, by default the shipped ones."""
    found = {name for folder in _own_folders(task) for name in names(task_folder(root, folder))}
    return sorted(name for name in found if not _is_critic(name) and not name.startswith(_POSTERIOR))


def shared_policies(root: Path | None) -> list[str]:
    """The policies for all tasks in `root`, by default the shipped ones."""
    return names(task_folder(root, ALL_TASKS))


def critics(root: Path | None, task: str) -> dict[str, str]:
    """The task's critics in `root`: as the option `critic` names them, to the checkpoint."""
    found = [name for name in names(task_folder(root, task)) if _is_critic(name)]
    return {"default" if name == CRITIC else name.removeprefix(f"{CRITIC}_"): name for name in found}


def policy_folder(task: str, policy: str, root: Path = ROOT) -> str:
    """The folder of `root` that holds the checkpoint `policy` for `task`."""
    folders = (*_own_folders(task), ALL_TASKS)
    return next((folder for folder in folders if weights(root / folder, policy).is_file()), task)


def _own_folders(task: str) -> tuple[str, ...]:
    """The folders of the task and, for one of OGBench's, of its domain."""
    domain = domain_of(task)
    return (task,) if domain is None else (task, domain)


def _is_critic(name: str) -> bool:
    return name == CRITIC or name.startswith(f"{CRITIC}_")
