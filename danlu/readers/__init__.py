"""From files of any format to records of text, and where each stands; nothing here imports torch."""
