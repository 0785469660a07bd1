"""An evaluation that is killed several times has the same outcomes as one that is not interrupted."""

import json
import random
import subprocess
from pathlib import Path
from signal import SIGKILL

import pytest

from caslie_tools.evaluation.reading import read_outcomes, read_run_description
from tests.cli.commands import finish, start
from tests.cli.stepped_profile import WAITING
from tests.evaluation.cases import comparable, many, write_data
from tests.time_limits import HANG_SECONDS

INSTANCES = 45
KILLS = 5


def start_run(data: Path, folder: Path, *, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    arguments = ("--profile", "tests.cli.stepped_profile:profile", "--store", folder / "store", "--out", folder / "run")
    return start("eval", data, *arguments, "--progress", "lines", "--json", stdin=stdin)


def kill_somewhere(process: "subprocess.Popen[str]", chance: random.Random) -> set[int]:
    """Lets the captioner make some captions, then kills the process. Returns the instances reported as done."""
    assert process.stdin is not None
    assert process.stderr is not None
    steps = chance.randint(6, 14)
    process.stdin.write("." * steps)
    process.stdin.flush()
    done: set[int] = set()
    asked, last = 0, chance.randint(steps // 2, steps + 2)
    for line in iter(process.stderr.readline, ""):
        asked += line.startswith(WAITING)
        if line.startswith("evaluating"):
            done.add(int(line.split()[-1]))
        if asked > last:
            break
    process.send_signal(SIGKILL)
    _, rest = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == -SIGKILL, rest
    return done


def test_a_killed_and_resumed_run_equals_a_clean_run(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="reports need the extra 'evaluation'")
    data = write_data(tmp_path, many(INSTANCES))
    clean = finish(start_run(data, tmp_path / "clean"))
    assert clean.document["run"]["instances"] == INSTANCES
    chance = random.Random(4)  # noqa: S311 (not a secret: kills at the same points every time, up to timing)
    killed = tmp_path / "killed"
    reported: set[int] = set()
    counts = []
    for _ in range(KILLS):
        reported |= kill_somewhere(start_run(data, killed, stdin=subprocess.PIPE), chance)
        outcomes = read_outcomes(killed / "run") if (killed / "run" / "outcomes.jsonl").exists() else []
        assert reported <= {outcome.index for outcome in outcomes}  # reported outcomes are on disk
        counts.append(len(outcomes))
    assert 0 < counts[-1] < INSTANCES
    ended = finish(start_run(data, killed))
    assert ended.code == 0, ended.err
    assert ended.document["run"]["resumed"] == counts[-1]
    assert ended.document["report"]["scores"] == clean.document["report"]["scores"]
    one, other = (read_outcomes(tmp_path / which / "run") for which in ("clean", "killed"))
    assert len(one) == INSTANCES
    assert comparable(one) == comparable(other)
    descriptions = [dict(read_run_description(tmp_path / which / "run")) for which in ("clean", "killed")]
    for description in descriptions:
        del description["started"], description["command"]
    assert descriptions[0] == descriptions[1]
    lines = (killed / "run" / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    made = [(entry["record"], entry["caption"]) for entry in map(json.loads, lines)]
    assert len(made) == len(set(made))  # captions made before a kill are not made again
