"""``python -m danlu`` is the same as ``danlu``."""

import sys

from danlu.cli import main

if __name__ == "__main__":
    sys.exit(main())
