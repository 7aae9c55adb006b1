"""Danlu (丹炉): from a folder of text to a language model that people can trust and serve."""

__version__ = "0.1.0"
