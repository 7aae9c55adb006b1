"""What is learned: one file an objective, each with ``example`` and ``loss``."""
