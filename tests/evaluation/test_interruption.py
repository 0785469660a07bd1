"""An evaluation that is killed, again and again: its outcomes are those of one that nothing disturbs."""

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL

import pytest

from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.evaluation.reading import read_outcomes
from tests.cli.commands import finish, start
from tests.cli.stepped_profile import WAITING
from tests.evaluation.cases import bare, many, write_data

INSTANCES = 45
KILLS = 5


def start_run(data: Path, folder: Path, **options: int) -> "subprocess.Popen[str]":
    arguments = ("--profile", "tests.cli.stepped_profile:profile", "--store", folder / "store", "--out", folder / "run")
    return start("eval", data, *arguments, "--progress", "lines", "--json", **options)


def kill_somewhere(process: "subprocess.Popen[str]", chance: random.Random) -> set[int]:
    """Lets its captioner take a few steps and kills it at some line; returns the instances it told were done."""
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
    _, rest = process.communicate(timeout=60)
    assert process.returncode == -SIGKILL, rest
    return done


def test_killed_and_resumed_it_ends_as_one_clean_run(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="reports need the extra 'evaluation'")
    data = write_data(tmp_path, many(INSTANCES))
    clean = finish(start_run(data, tmp_path / "clean"))
    assert clean.document["run"]["instances"] == INSTANCES
    chance = random.Random(4)  # noqa: S311 (no secret: the same points every time, as far as processes are the same)
    killed = tmp_path / "killed"
    told: set[int] = set()
    counts = []
    for _ in range(KILLS):
        told |= kill_somewhere(start_run(data, killed, stdin=subprocess.PIPE), chance)
        outcomes = read_outcomes(killed / "run") if (killed / "run" / "outcomes.jsonl").exists() else []
        assert told <= {outcome.index for outcome in outcomes}  # what was told is on the disk
        counts.append(len(outcomes))
    assert 0 < counts[-1] < INSTANCES  # in mid-run
    ended = finish(start_run(data, killed))
    assert ended.code == 0, ended.err
    assert ended.document["run"]["resumed"] == counts[-1]
    assert ended.document["report"]["scores"] == clean.document["report"]["scores"]
    one, other = (read_outcomes(tmp_path / which / "run") for which in ("clean", "killed"))
    assert len(one) == INSTANCES
    assert bare(one) == bare(other)
    described = [(tmp_path / which / "run" / "run.json").read_bytes() for which in ("clean", "killed")]
    assert described[0] == described[1]
    assert _found(other) > _found(one)  # captions that were made before a kill were not made again


def _found(outcomes: Sequence[Outcome]) -> int:
    return sum(treated.cost.cached_captions for outcome in outcomes for treated in outcome.treatments.values())
