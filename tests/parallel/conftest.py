"""Processes that a test starts find ranks.py by its name, and so do the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
