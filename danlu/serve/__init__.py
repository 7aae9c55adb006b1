"""A model for a task behind HTTP: ``danlu serve``. ``engine.py`` knows no HTTP, all others no torch."""
