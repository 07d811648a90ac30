"""Whether episodes have enough of both outcomes for a critic, which learns what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from sim_eval.training.trajectories import Trajectory

#: Successes, and failures, below which a critic learns little.
LEAST_OF_EACH = 10


def warning(what: str, episodes: Sequence[Trajectory], more: str) -> str | None:
    """A line if successes or failures are fewer than `LEAST_OF_EACH`. `more`: the option that asks for more of them."""
    won = sum(episode.success for episode in episodes)
    few = [
        f"{count} {name}"
        for count, name in ((won, "succeeded"), (len(episodes) - won, "failed"))
        if count < LEAST_OF_EACH
    ]
    if not few:
        return None
    return (
        f"warning: of {len(episodes)} {what}, {' and '.join(few)}: a critic learns little from fewer than "
        f"{LEAST_OF_EACH} of either outcome; play more with {more}"
    )


def said_of_scores(scores: Mapping[str, float | None], held_out: Sequence[Trajectory]) -> str:
    """The scores on held-out episodes in words, or why there are none."""
    if all(score is not None for score in scores.values()):
        return ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
    won = sum(episode.success for episode in held_out)
    missing = "failed" if won else "succeeded"
    known = "".join(f", {name} {score:.3f}" for name, score in scores.items() if score is not None)
    return f"no area under the ROC curve, for none of these {len(held_out)} {missing}{known}"


def before_learning(unsteered: Sequence[Trajectory], limit: int | None, steps: int, round: int) -> list[str]:
    """What a learner's options leave short, a line each.

    unsteered: the frozen policy's episodes. limit: control steps of a training episode, None without a limit. steps:
    those asked for. round: episodes of a round.
    """
    told = warning("unsteered episodes", unsteered, "rollouts=N")
    found = [] if told is None else [told]
    lengths = [len(episode.actions) for episode in unsteered]
    mean = fmean(lengths if limit is None else [min(length, limit) for length in lengths])
    if 0 < steps < round * mean:
        found.append(
            f"steps is {steps}, and rounds are played whole: {round} episodes are some {round * mean:.0f} steps; "
            "fewer with round=N"
        )
    return found
