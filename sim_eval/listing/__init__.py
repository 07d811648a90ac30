"""What a run can be made of, as rows: tasks, policies, samplers and checkpoints. Nothing is built."""
