"""``python -m danlu`` is the same as ``danlu``."""

from danlu.cli import main

if __name__ == "__main__":
    main()
