"""The benchmarks are scripts that import each other as top-level modules, so their folder must be on the path."""

import sys

from tests.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
