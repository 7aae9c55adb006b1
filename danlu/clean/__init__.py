"""The stage ``clean``: what is kept of the text, in which form, and why the rest is not; nothing here imports torch."""
