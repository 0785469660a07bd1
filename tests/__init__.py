"""The tests. This module sets the environment before the package is imported."""

import os

# The output of the command would keep the width of this terminal, whatever a test sets.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
# The tests run in several processes, and their matrices are small: more threads only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
