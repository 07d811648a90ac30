"""Learn a critic while it steers the frozen policy."""

from __future__ import annotations

from sim_eval.training.online_options import LearnOptions as Options

USAGE = "sim-eval learn [option=value ...]    e.g. sim-eval learn task=can samplers=qpilots_u"


def run(options: Options) -> int:
    from sim_eval.training.online import learn

    curve = learn(options)
    print(f"{curve[-1].steps} steps played")
    print(f"{options.output}; sim-eval evaluate uses its critic with critic={options.output}")
    return 0
