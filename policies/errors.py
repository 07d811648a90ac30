"""The error of a policy that cannot be built or used as asked. Does not import torch."""


class PolicyError(ValueError):
    """What is wrong, which option it is, and what is accepted, in one line."""
