"""Installs the extra ``embedded`` into a new environment; measures disk space, commands and their memory.

python benchmarks/installation.py [--runs 5]

A cold command is a new process on an indexed store. A warm command is one that ``caslie serve`` does. Without other
work on the machine, ``caslie ask`` should take less than 2.5 s on two cores and ``caslie search`` less than 1.5 s, each
at most 350 MB; a warm command 0.1 s; and the installation at most 700 MB.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import heading

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "search": ["search", "something for wet weather"],
    "ask": ["ask", "Which bottle holds 750 ml?"],
    "help": ["--help"],
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one process took."""

    seconds: float
    processor_seconds: float
    megabytes: float
    """The most memory that it used."""


def measured(command: Sequence[str], environment: dict[str, str], folder: Path) -> Run:
    """Runs a command and measures it."""
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 (our own command)
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert process.stderr is not None
    message = process.stderr.read().decode()
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed: {message}")
    return Run(seconds=seconds, processor_seconds=usage.ru_utime + usage.ru_stime, megabytes=usage.ru_maxrss / 1024)


def megabytes(folder: Path) -> float:
    """Returns the disk space of a folder. A file with several names counts once."""
    sizes = {(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in map(Path.lstat, folder.rglob("*"))}
    return sum(sizes.values()) / 2**20


def install(folder: Path) -> tuple[Path, Path]:
    """Builds the wheel of this checkout and installs it with its extra; returns the folder of its commands and it."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PIP_CONSTRAINT", "PYTHONPATH"}}
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)  # noqa: S603
    python = folder / "env" / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(  # noqa: S603
        [*pip, "wheel", "--no-deps", "--wheel-dir", folder / "wheel", ROOT], check=True, env=environment
    )
    (wheel,) = (folder / "wheel").glob("*.whl")
    subprocess.run([*pip, "install", f"{wheel}[embedded]"], check=True, env=environment)  # noqa: S603
    return python.parent, wheel


def serve(commands: Path, wheel: Path, environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    """Installs the extra ``serve`` too, and starts a server."""
    pip: list[str | Path] = [
        commands / "python",
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        f"{wheel}[serve]",
    ]
    subprocess.run(pip, check=True, env=environment)  # noqa: S603
    process = subprocess.Popen(  # noqa: S603
        [commands / "caslie", "serve", "--store", ".caslie/demo", "--port", "0"],
        env=environment,
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    if "listening on" not in (line := process.stderr.readline()):
        sys.exit(f"caslie serve failed: {line}")
    return process


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(heading())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands, wheel = install(folder)
        print(f"environment with pip: {megabytes(folder / 'env'):.0f} MB")
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("CASLIE_", "PYTHON"))
        } | {"XDG_CACHE_HOME": str(folder / "cache")}
        first = measured([str(commands / "caslie"), "demo"], environment, folder)
        print(f"downloaded models: {megabytes(folder / 'cache'):.0f} MB")
        print(f"caslie demo, with the download: {first.seconds:.0f} s, {first.megabytes:.0f} MB of memory")

        def report(state: str) -> None:
            for title, command in COMMANDS.items():
                line = [str(commands / "caslie"), *command]
                if title != "help":
                    line += ["--store", ".caslie/demo"]
                runs = [measured(line, environment, folder) for _ in range(arguments.runs)]
                print(
                    f"caslie {title}, {state}: median {statistics.median(run.seconds for run in runs):.2f} s, "
                    f"at most {max(run.seconds for run in runs):.2f} s; processor time "
                    f"{statistics.median(run.processor_seconds for run in runs):.2f} s; "
                    f"memory {max(run.megabytes for run in runs):.0f} MB"
                )

        report("cold")
        server = serve(commands, wheel, environment, folder)
        print(f"environment with serve: {megabytes(folder / 'env'):.0f} MB")
        measured([str(commands / "caslie"), *COMMANDS["ask"], "--store", ".caslie/demo"], environment, folder)
        report("warm, after a first question")
        server.terminate()
        server.wait()
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"load of the machine over the last 1, 5 and 15 minutes: {busy}")


if __name__ == "__main__":
    main()
