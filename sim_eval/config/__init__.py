"""Options: composing them from configs/ and the command line."""
