"""The models of a run: shipped checkpoints or the user's own, checked and on the device."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import torch

from critics.actor import ChunkActor
from critics.critic import Critic
from policies.observation import ObservationRequest
from policies.policy import Denoiser, FrozenPolicy, Policy, Posterior, modules_of, weights_digest
from sim_eval.config.components import Component
from sim_eval.foundation.errors import RunError
from sim_eval.models import checkpoints, store
from sim_eval.samplers.sampler import ACTORS, Models, Sampler

#: By label, policies that serve every task, with their fingerprints.
LoadedPolicies = dict[str, tuple[Policy | Denoiser, dict[str, str]]]


def build_models(
    task: str,
    policy: Component,
    critic: Component | None,
    posterior: Component,
    needs: frozenset[str],
    root: Path = store.ROOT,
    device: str = "auto",
    loaded: LoadedPolicies | None = None,
) -> Models:
    """The models for samplers with these `needs`, with their fingerprints.

    A component without a target is a checkpoint in `root`. Others are built by their own code, which may take `task`
    (its name), `device` and, for critics and posteriors, `policy`. If `critic` is None, records hold no Q. Raises
    RunError for models that cannot be built or do not fit together.

    loaded: policies that were loaded before; one that is the same for every task is taken from there, and kept there.
    """
    place = resolve_device(device, policy)
    shared = _is_for_any_task(task, policy, root)
    known = {} if loaded is None or not shared else loaded
    if policy.label not in known:
        known[policy.label] = _policy(task, policy, root, place)
    frozen, prints = known[policy.label]
    prints = dict(prints)
    value: Critic | None = None
    if critic is not None and _is_missing(critic, task, policy, root):
        if "critic" in needs:
            folder = "DIR" if root == store.ROOT else shlex.quote(str(root))
            own = "" if policy.target is None else f" checkpoints={folder}"
            then = f";{own}" if own and root == store.ROOT else ""
            raise RunError(
                f"policy={policy.label} has no critic for task {task}; accepted: critic=./file.py:NAME, or a critic of "
                f"its own, which `sim-eval train task={task} policy={policy.target or policy.label} "
                f"stage=rollouts,critic{own}` trains{then}"
            )
        critic = None
    if critic is not None:
        value, found = _critic(task, critic, frozen, root, place)
        prints |= found
    draws: Posterior | None = None
    if "posterior" in needs and isinstance(frozen, Denoiser):
        draws, found = _posterior(task, policy, posterior, frozen, prints["policy"], root, place)
        prints |= found
    actors, found = _actors(task, frozen, critic, needs)
    return Models(frozen, value, draws, actors, prints | found)


def _is_for_any_task(task: str, policy: Component, root: Path) -> bool:
    """Whether the policy does not depend on the task."""
    if policy.target is None:
        return store.policy_folder(task, policy.label, root) == store.ALL_TASKS
    return not policy.takes("task")


def check_needs(label: str, sampler: Sampler, policy: str, models: Models) -> None:
    """Raise RunError if the sampler called `label` needs more than the models offer."""
    if "denoiser" in sampler.needs and not isinstance(models.policy, Denoiser):
        raise RunError(
            f"sampler {label} needs a Denoiser, and policy {policy} is a {type(models.policy).__name__}, which offers "
            "`sample` alone; accepted for it: unsteered, best_of_n, vgps"
        )
    if "critic" in sampler.needs and models.critic is None:
        raise RunError(f"critic is none, which sampler {label} needs; accepted: samplers=unsteered, or a critic")
    if models.critic is not None and models.critic.uses_features and not offers_features(models.policy):
        raise RunError(f"the critic reads the policy's features, and policy {policy} offers none")


def offers_features(policy: FrozenPolicy) -> bool:
    """Whether the policy has features that a critic or a posterior net can read."""
    return isinstance(policy, Denoiser) and type(policy).features is not Denoiser.features


def resolve_device(device: str, policy: Component) -> torch.device:
    """The device of a run's models for the option `device`: auto, cpu or cuda.

    auto: the GPU, if there is one, for a policy that other code builds. This suite's own networks have at most a few
    million weights and stay on the CPU: an H200 takes 8.1 ms for an unsteered decision of can's, its host 5.2, and 28
    against 16 ms steered by U. Raises RunError for cuda if torch finds no GPU.
    """
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise RunError("device is cuda, and torch finds no GPU; accepted: auto, cpu")
    wanted = device == "cuda" or (device == "auto" and policy.target is not None)
    return torch.device("cuda" if wanted and found else "cpu")


def _policy(
    task: str, component: Component, root: Path, device: torch.device
) -> tuple[Policy | Denoiser, dict[str, str]]:
    if component.target is None:
        policy = checkpoints.load_policy(task, component.label, root).to(device)
        return policy, checkpoints.fingerprints(
            root, store.policy_folder(task, component.label, root), "policy", component.label
        )
    built = component.build(task=task, device=device)
    if not isinstance(built, Policy | Denoiser):
        raise RunError(f"{_named(component)} gave {_kind(built)}; accepted: a sim_eval.Policy or a sim_eval.Denoiser")
    lacking = [name for name in ("request", "horizon", "execute", "action_dim") if not hasattr(built, name)]
    if isinstance(built, Denoiser) and not hasattr(built, "schedule"):
        lacking.append("schedule")
    if lacking:
        raise RunError(f"{_named(component)} gave a policy without {', '.join(lacking)}")
    if not isinstance(built.request, ObservationRequest):
        raise RunError(f"{_named(component)}: its request is {_kind(built.request)}; accepted: an ObservationRequest")
    for name in ("horizon", "execute", "action_dim"):
        if not isinstance(value := getattr(built, name), int):
            raise RunError(f"{_named(component)}: {name} is {value!r}; accepted: a whole number")
    if not 1 <= built.execute <= built.horizon:
        raise RunError(f"{_named(component)}: execute is {built.execute}; accepted: 1 to the horizon, {built.horizon}")
    _freeze(built)
    return built, {"policy": _fingerprint(component, built.fingerprint())}


def _is_missing(critic: Component, task: str, policy: Component, root: Path) -> bool:
    """Whether the default critic was never trained. The shipped ones value the shipped policies' chunks on one task."""
    if critic.target is not None:
        return False
    if policy.target is not None:
        return root == store.ROOT or not store.weights(root / task, critic.label).is_file()
    own = store.critic_of(policy.label)  # the critic of a policy for all tasks
    return critic.label == own and not store.weights(root / task, own).is_file()


def _critic(
    task: str, component: Component, policy: FrozenPolicy, root: Path, device: torch.device
) -> tuple[Critic, dict[str, str]]:
    if component.target is None:
        critic = checkpoints.load_critic(task, component.label, policy, root).to(device)
        return critic, checkpoints.fingerprints(root, task, "critic", component.label)
    built = component.build(task=task, device=device, policy=policy)
    if not isinstance(built, Critic):
        raise RunError(f"{_named(component)} gave {_kind(built)}; accepted: a sim_eval.Critic")
    if isinstance(built.observations, str):
        raise RunError(f"{_named(component)}: observations is {built.observations!r}; accepted: a tuple of names")
    _freeze(built)
    return built, {"critic": _fingerprint(component, weights_digest(built))}


def _actors(
    task: str, policy: FrozenPolicy, critic: Component | None, needs: frozenset[str]
) -> tuple[dict[str, ChunkActor], dict[str, str]]:
    """The actors that the samplers need, from the critic's folder, where both were learned."""
    actors: dict[str, ChunkActor] = {}
    prints: dict[str, str] = {}
    for need in sorted(needs & set(ACTORS)):
        folder = None if critic is None else critic.options.get("folder")
        if folder is None:
            named = "none" if critic is None else critic.label
            raise RunError(
                f"critic is {named}, and a sampler needs its {need}; accepted: the folder of a sim-eval learn "
                "with this sampler"
            )
        actors[need] = checkpoints.load_actor(Path(folder), task, need, policy).to(policy.device)
        prints |= checkpoints.fingerprints(Path(folder), ".", need, need)
    return actors, prints


def _posterior(
    task: str,
    policy: Component,
    component: Component,
    denoiser: Denoiser,
    fingerprint: str,
    root: Path,
    device: torch.device,
) -> tuple[Posterior, dict[str, str]]:
    if component.target is None:
        net = checkpoints.load_posterior(task, policy.label, denoiser, fingerprint, root).to(device)
        return net, checkpoints.fingerprints(root, task, "posterior", store.posterior_of(policy.label))
    built = component.build(task=task, device=device, policy=denoiser)
    if not callable(getattr(built, "draw", None)):
        raise RunError(
            f"{_named(component)} gave {_kind(built)}; accepted: an object with draw(z, x, t, clean, context)"
        )
    _freeze(built)
    return built, {"posterior": _fingerprint(component, weights_digest(built))}


def _freeze(model: object) -> None:
    """Stop gradients to the weights, and switch to evaluation mode (no dropout)."""
    for module in modules_of(model):
        module.requires_grad_(False).eval()


def _fingerprint(component: Component, weights: str) -> str:
    """SHA-256 of a component's weights, options and source file."""
    digest = hashlib.sha256(weights.encode())
    digest.update(json.dumps(dict(component.options), sort_keys=True, default=str).encode())
    digest.update(component.source())
    return digest.hexdigest()


def _named(component: Component) -> str:
    return f"{component.option}={component.target}"


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
