"""A model for a task behind HTTP: ``danlu serve``. ``engine.py`` knows no HTTP, and ``api.py`` no torch."""
