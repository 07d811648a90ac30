"""Try steering strengths on the tune block of keys."""

from __future__ import annotations

from sim_eval.evaluation.options import SweepOptions as Options

USAGE = "sim-eval sweep [option=value ...]    e.g. sim-eval sweep task=can sampler=qpilots_u strengths=0.3,0.6"


def run(options: Options) -> int:
    from sim_eval.evaluation.sweep import choose_strengths, try_strengths

    published = try_strengths(options)
    print(options.published)
    if options.choose:
        best = choose_strengths(options, published)
        print(f"chosen: {', '.join(f'{name} {strength:g}' for name, strength in best.items())}")
        if options.steered:
            print(f"{options.output}; sim-eval evaluate uses them with strengths={options.output}")
    return 0
