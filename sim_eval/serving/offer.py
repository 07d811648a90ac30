"""What a server offers: its models, its samplers, and the handshake that tells clients of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.openpi.handshake import Handshake
from sim_eval.checkpoints import ROOT
from sim_eval.config.models import critic_method
from sim_eval.config.strengths import SHIPPED, known_strengths
from sim_eval.errors import RunError
from sim_eval.evaluation.samplers import SamplerConfigs, build_sampler
from sim_eval.models import build_models, check_needs
from sim_eval.rollout.inference import what_to_observe
from sim_eval.samplers.sampler import Models, Sampler
from sim_eval.serving.settings import ServeSettings

#: The sampler whose chunks a request may ask several of: a sampler that steers has one result for a seed.
UNSTEERED = "unsteered"


@dataclass(frozen=True)
class Offer:
    """`handshake`: what clients are told. `samplers`: configurations by name; a strength may be None."""

    models: Models
    samplers: SamplerConfigs
    handshake: Handshake

    def sampler(self, name: str, strength: float | None) -> Sampler:
        """The sampler `name`, at its own strength if `strength` is None. Raises RunError for a strength it refuses."""
        config = self.samplers[name]
        if strength is not None and "strength" not in config:
            raise RunError(f"strength is {strength}; sampler {name} takes none")
        return build_sampler(name, config if strength is None else {**config, "strength": strength})


def build_offer(settings: ServeSettings) -> Offer:
    """Build the models and samplers that the settings name. Raises RunError if they do not fit together."""
    samplers = {
        name: build_sampler(name, {**config, "strength": 0.0} if config.get("strength", 0.0) is None else config)
        for name, config in settings.sampler.items()
    }
    needs = frozenset[str]().union(*(sampler.needs for sampler in samplers.values()))
    critic = settings.critic if "critic" in needs else None
    root = settings.checkpoints or ROOT
    models = build_models(settings.task, settings.policy, critic, settings.posterior, needs, root, settings.device)
    for name, sampler in samplers.items():
        check_needs(name, sampler, settings.policy.label, models)
    configs = _with_tuned_strengths(settings, models)
    handshake = offered(models, configs, settings.limits.window, settings.limits.samples)
    # A checkpoint and a critic are for one task; another policy's builder may have made one for any.
    tied = settings.policy.target is None or models.critic is not None
    return Offer(models, configs, replace(handshake, task=settings.task if tied else None))


def _with_tuned_strengths(settings: ServeSettings, models: Models) -> SamplerConfigs:
    """The samplers' configurations; a missing strength is the one for these models, if there is one."""
    method = critic_method(settings.critic, settings.task, settings.checkpoints)
    policy = settings.policy.label
    tuned = known_strengths(SHIPPED, settings.task, policy, settings.critic, settings.sampler, method)
    known = {} if tuned.differing(models.fingerprints) else tuned.strengths
    return {
        name: {**config, "strength": known[name]} if config.get("strength", 0.0) is None and name in known else config
        for name, config in settings.sampler.items()
    }


def offered(models: Models, samplers: SamplerConfigs, window: int, samples: int) -> Handshake:
    """The handshake of a server with these models, for any task."""
    policy = models.policy
    mean, deviation = policy.normalisation()
    sizes = dict(policy.observation_sizes) | (dict(models.critic.observation_sizes) if models.critic else {})
    return Handshake(
        observation=what_to_observe(models),
        observation_sizes=sizes,
        horizon=policy.horizon,
        execute=policy.execute,
        action_dim=policy.action_dim,
        normalisation=(mean.float().cpu().numpy(), deviation.float().cpu().numpy()),
        samplers={
            name: {"strength": config["strength"]} if "strength" in config else {} for name, config in samplers.items()
        },
        seed=True,
        samples=samples if UNSTEERED in samplers else 1,
        window=window,
        fingerprints=dict(models.fingerprints),
    )
