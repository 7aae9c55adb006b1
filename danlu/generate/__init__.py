"""Text from a model: sampling, the engine with its cache, the stage, the terminal."""
