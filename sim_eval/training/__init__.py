"""Training: from scripted demonstrations to the checkpoints that an evaluation reads."""
