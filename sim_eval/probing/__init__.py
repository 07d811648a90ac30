"""Whether a critic can steer a frozen policy, measured before it does."""
