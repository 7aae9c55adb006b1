"""Hugging Face folders in and out; one file a family."""
