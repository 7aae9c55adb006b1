"""The training engine: the loop, its hooks, precision, compilation, checkpoints, the stage ``pretrain``."""
