"""LIBERO's assets built from primitives, for machines that reach no hub: the 30 tasks of three of its suites.

Every size here was measured on the assets of the LIBERO benchmark (Liu et al. 2023, arXiv 2306.03310), metres.
"""

from tasks.libero_lite.folder import LITE_SUITES, write_lite

__all__ = ["LITE_SUITES", "write_lite"]
