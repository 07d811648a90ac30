"""MuJoCo's warnings, which it would write into MUJOCO_LOG.TXT in the current folder."""

from __future__ import annotations

import functools
import logging
import sys

_LOG = logging.getLogger(__name__)


def keep_log_out() -> None:
    """Send MuJoCo's warnings to Python's log, unless someone else takes them. Does nothing if it is not imported."""
    mujoco = sys.modules.get("mujoco")
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_told_once)


@functools.lru_cache(256)  # an unstable simulation warns at every step
def _told_once(text: str) -> None:
    _LOG.warning("MuJoCo: %s", text)
