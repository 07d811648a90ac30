"""Where episodes are played: in processes of this machine, or on a Ray cluster."""
