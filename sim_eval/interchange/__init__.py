"""Result files of other evaluation harnesses: read as unpaired runs, and written from runs. One file per format."""
