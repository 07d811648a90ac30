"""The commands, a file each: its options, how it is called, and what it does.

A file imports nothing heavy, so that `--help` and errors are quick; `run` imports what it needs.
"""
