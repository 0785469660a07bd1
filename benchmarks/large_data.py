"""Measures the time and memory for reading instruction data of the size of MMECInstruct, with a generated file.

python benchmarks/large_data.py [--records 75000] [--characters 3500]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import heading
from rich.console import Console
from rich.table import Table

from caslie_tools.data.checking import check_data
from caslie_tools.data.reading import read_records
from caslie_tools.data.statistics import data_statistics


def write(path: Path, records: int, characters: int) -> None:
    """Writes a JSON array of answerable questions with long documents."""
    with path.open("w", encoding="utf-8") as file:
        for index in range(records):
            document = [f"Review {index}: " + "it fits and it lasts, says somebody. " * (characters // 37)]
            record = {
                "instruction": "Decide whether the document answers the question.",
                "input": json.dumps({"question": f"Does number {index} fit?", "document": document}),
                "options": "[]",
                "output": "yes" if index % 3 else "no",
                "task": "answerability_prediction",
                "split": ("train", "validation", "test")[index % 3],
                "images": json.dumps([f"https://shop.example/{index}.jpg"]),
                "caption_info": json.dumps(["A pan with a lid."]),
            }
            file.write(("[" if index == 0 else ",\n") + json.dumps(record))
        file.write("]")


WORK: dict[str, Callable[[Path], object]] = {
    "read and validate": lambda path: sum(1 for _ in read_records(path)),
    "check": check_data,
    "statistics": data_statistics,
}


def measure(name: str, path: Path) -> None:
    """Runs one kind of work in this process, and prints its seconds and peak memory as JSON."""
    started = time.perf_counter()
    WORK[name](path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - started, "mib": peak}))


def main() -> None:
    """Prints the table. Each kind of work runs in a separate process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=75_000)
    parser.add_argument(
        "--characters", type=int, default=3_500, help="approximate length of the document in each record"
    )
    parser.add_argument("--measure", nargs=2, metavar=("WORK", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    print(heading())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset.json"
        write(path, options.records, options.characters)
        table = Table(
            "", "seconds", "peak memory, MiB", title=f"{options.records:,} records, {path.stat().st_size / 1e6:.0f} MB"
        )
        for name in WORK:
            command = [sys.executable, __file__, "--measure", name, str(path)]
            measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
            table.add_row(name, f"{measured['seconds']:.1f}", f"{measured['mib']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
