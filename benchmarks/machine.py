"""Describes the origin of a figure: machine, command, date and versions."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def heading() -> str:
    """Returns the first line that a benchmark prints."""
    packages = ", ".join(f"{package} {version(package)}" for package in ("langgraph", "langchain-core", "faiss-cpu"))
    command = " ".join([Path(sys.executable).name, *sys.argv])
    return (
        f"{datetime.now(UTC):%Y-%m-%d} · {_processor()}, {os.cpu_count()} cores · Python {platform.python_version()}, "
        f"{packages} · {command}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
