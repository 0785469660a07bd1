"""Fails if the tests cover less than 70% of a module. Run it after tests with coverage.

::

    python -m scripts.coverage_floor
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import coverage

FLOOR: Final = 70
"""Percent of a module's lines and branches. ``fail_under`` in pyproject.toml is the floor of all modules together."""


def below_floor(measured: coverage.Coverage) -> dict[str, float]:
    """Returns the modules below the floor, with their percentages."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        measured.json_report(outfile=str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    covered = {name: file["summary"]["percent_covered"] for name, file in files.items()}
    return {name: percent for name, percent in covered.items() if percent < FLOOR}


def main() -> None:
    """Reads the coverage that the tests measured."""
    measured = coverage.Coverage()
    measured.load()
    if found := below_floor(measured):
        sys.exit("\n".join(f"{name}: {percent:.0f}% covered; the floor is {FLOOR}%" for name, percent in found.items()))


if __name__ == "__main__":
    main()
