"""Answer the decision requests of other programs until Ctrl-C."""

from __future__ import annotations

import logging

from sim_eval.serving.options import ServeOptions as Options

USAGE = "sim-eval serve [option=value ...]    e.g. sim-eval serve task=can samplers=unsteered,qpilots_u"


def run(options: Options) -> int:
    from sim_eval.serving.server import serve

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    serve(options)
    return 0
