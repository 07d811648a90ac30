"""Learn a critic while it steers the frozen policy."""

from __future__ import annotations

from sim_eval.training.online_options import LearnOptions as Options
from sim_eval.training.together_options import LearnTogether, read_learning

USAGE = (
    "sim-eval learn [option=value ...]    e.g. sim-eval learn task=can samplers=qpilots_u\n\n"
    "Several tasks of an OGBench domain at once, with data: task=ogbench task.env=scene task.index=1-5 data=FILE.npz."
)

#: How the arguments are read, for they may name several tasks.
read = read_learning


def run(options: Options | LearnTogether) -> int:
    if isinstance(options, LearnTogether):
        from sim_eval.training.together import learn_together

        steps = learn_together(options.tasks, options.output)
        print(f"{steps} steps of each task played, on average")
        print(f"{options.output}; sim-eval evaluate uses the critics with critic={options.output}")
        return 0
    from sim_eval.training.online import learn

    curve = learn(options)
    print(f"{curve[-1].steps} steps played")
    print(f"{options.output}; sim-eval evaluate uses its critic with critic={options.output}")
    return 0
