"""One sentence: whether to steer by the critic, to choose among draws by it, or to leave the policy alone."""

from __future__ import annotations

from sim_eval.probing.gains import Gain, Gains
from sim_eval.probing.measures import Figure

#: How the sentence begins.
STEER, CHOOSE, LEAVE, UNTOLD = "steer", "choose", "leave it", "these figures do not tell"

#: The share of a critic's own gain that its twin must leave possible, or steering by it is idle.
CARRIED = 0.5


def sentence(gains: Gains) -> str:
    """The verdict of the twins' gains, in one sentence that begins with one of the four.

    Steer: of the sampler with the highest peak, the interval of the peak is above 0 and ends above the share `CARRIED`
    of what the critic that steered believes to gain, and that of its difference from `best_of_n` is above 0. Choose:
    the interval of `best_of_n` is above 0, and no sampler's peak is higher. Leave it: no twin gain's interval is above
    0, and each ends below the share `CARRIED`. Otherwise these figures do not tell: they may be too few.
    """
    choice = gains.best_of_n
    every = [choice, *(gain for tried in gains.tried.values() for gain in tried)]
    if not any(gain.twin.above_zero for gain in every):
        highest = max(every, key=_height)
        none = f"by the twin's judgement the interval of no gain is above 0; the highest: {_told(highest)}"
        return f"{LEAVE}: {none}" if all(map(_hardly_carries, every)) else f"{UNTOLD}: {none}"
    if not gains.peaks:
        return f"{CHOOSE}: by the twin's judgement {_told(choice)}; no sampler with a strength was tried"
    best = max(gains.peaks.values(), key=lambda peak: _height(peak.gain))
    compared = (
        f"by the twin's judgement {_told(best.gain)}, {_told(choice)}; the difference is {_figure(best.over_best_of_n)}"
    )
    if best.gain.twin.above_zero and best.over_best_of_n.above_zero:
        if _hardly_carries(best.gain):
            believed = f"less than {CARRIED:.0%} of the gain of {best.gain.own.value:.2f} that the critic believes in"
            return f"{UNTOLD} whether to steer: the twin confirms {believed}; {compared}"
        return f"{STEER}, with {_name(best.gain)}: {compared}"
    if choice.twin.above_zero and _height(best.gain) <= _height(choice):
        return f"{CHOOSE}: {compared}"
    return f"{UNTOLD} whether to steer or to choose: {compared}"


def _hardly_carries(gain: Gain) -> bool:
    """Whether even the end of the twin gain's interval is below the share `CARRIED` of the own gain."""
    assert gain.twin.interval is not None
    assert gain.own.value is not None
    return gain.twin.interval[1] < CARRIED * gain.own.value


def _told(gain: Gain) -> str:
    return f"{_name(gain)} gains {_figure(gain.twin)}"


def _name(gain: Gain) -> str:
    return gain.sampler if gain.strength is None else f"{gain.sampler} at strength {gain.strength:g}"


def _height(gain: Gain) -> float:
    assert gain.twin.value is not None
    return gain.twin.value


def _figure(figure: Figure) -> str:
    assert figure.interval is not None
    low, high = figure.interval
    return f"{figure.value:.2f} [{low:.2f}..{high:.2f}]"
