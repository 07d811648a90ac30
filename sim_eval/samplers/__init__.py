"""Samplers: ways to draw an action chunk from the frozen policy, one file each."""

from sim_eval.samplers.best_of_n import BestOfN
from sim_eval.samplers.dsrl import DSRL
from sim_eval.samplers.edit import Edit
from sim_eval.samplers.qgf import QGF
from sim_eval.samplers.qpilots_m import QPilotsM
from sim_eval.samplers.qpilots_u import QPilotsU
from sim_eval.samplers.sampler import Models, Sampler
from sim_eval.samplers.unsteered import Unsteered
from sim_eval.samplers.value_guided import ValueGuided
from sim_eval.samplers.vgps import VGPS

__all__ = [
    "DSRL",
    "QGF",
    "VGPS",
    "BestOfN",
    "Edit",
    "Models",
    "QPilotsM",
    "QPilotsU",
    "Sampler",
    "Unsteered",
    "ValueGuided",
]
