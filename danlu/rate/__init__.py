"""People as judges: a page where they compare answers blind or score them, and what their ratings say."""
