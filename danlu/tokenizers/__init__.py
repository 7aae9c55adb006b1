"""Train tokenizers, measure them, keep them in Hugging Face form; nothing here imports torch."""
