"""The Transformer, its parts, and Hugging Face folders in and out."""
