"""Training: from demonstrations or a frozen policy's rollouts to the checkpoints that an evaluation reads."""
