"""The error of a policy that cannot be built or used as asked. Does not import torch."""


class PolicyError(ValueError):
    """A user's error in one line: the option, what is wrong with it, and what is accepted."""
