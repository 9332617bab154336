"""Figures: ratios measured side by side in one run."""

import sys
from pathlib import Path

# The PostgreSQL that the tests start is the one that is measured.
sys.path.append(str(Path(__file__).parents[1] / "tests"))
