"""From raw files to clean documents; nothing here imports torch."""
