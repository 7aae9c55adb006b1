"""What the tests of tasks share: ``short_run.py``, found by its name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
