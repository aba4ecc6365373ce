"""The benchmarks are scripts beside the package: their modules are found by this path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
