"""Measure whether a critic can steer a frozen policy."""

from __future__ import annotations

from sim_eval.probing.options import PROBE
from sim_eval.probing.options import ProbeOptions as Options

USAGE = "sim-eval probe [option=value ...]    e.g. sim-eval probe task=can samplers=qpilots_u"


def run(options: Options) -> int:
    from sim_eval.probing.probe import probe
    from sim_eval.report import probe_page
    from sim_eval.report.probe import probe_lines

    found = probe(options)
    print("\n".join(probe_lines(found)), flush=True)
    print(f"\n{options.output / PROBE}\n{probe_page.write(found, options.output)}")
    return 0
