import re
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="tuning a gate needs the extra 'evaluation'")

from caslie_tools.pipeline.tuned_gate import TunedGate
from tests.cli.conftest import Command
from tests.tuning.test_gate import TASK, good, guess, noise, run_of


def test_a_better_gate_is_written_and_the_command_says_how_to_use_it(caslie: Command, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", good, noise, noise, guess, guess)
    ended = caslie("tune", "gate", run)
    assert ended.code == 0
    assert f"wrote {run / 'gate.json'}; use it with: CASLIE_GATE=" in ended.out
    assert re.search(rf"{TASK} +│ 300 +│ 75 +│ 75 +│ 0\.\d+ +│ 0\.\d+ +│ \+0\.\d+ \(\+0.* │ tuned", ended.out)
    assert "note: tuned on test" in ended.err
    assert list(TunedGate.load(run / "gate.json").tasks) == [TASK]


def test_its_document_says_what_was_found_and_where_it_was_written(caslie: Command, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", good, noise, noise)
    ended = caslie("tune", "gate", run, "--out", tmp_path / "mine.json", "--json")
    assert ended.code == 0
    assert ended.document["written"] == str(tmp_path / "mine.json")
    assert TunedGate.model_validate(ended.document["gate"]) == TunedGate.load(tmp_path / "mine.json")
    (task,) = ended.document["tasks"]
    assert task["better"]
    assert task["interval"]["low"] > 0


def test_noise_is_refused_and_nothing_is_written(caslie: Command, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", noise, noise, noise)
    ended = caslie("tune", "gate", run)
    assert ended.code == 1
    assert "no gate is better than the plain majority: nothing is written" in ended.err
    assert f"{TASK}: not shown to be better" in ended.err
    refused = caslie("tune", "gate", run, "--json")
    assert (refused.code, refused.document["written"], refused.document["gate"]) == (1, None, None)
    assert not (run / "gate.json").exists()
    assert "older" not in ended.err
    (run / "gate.json").write_text("{}", encoding="utf-8")
    assert "gate.json is older: it was not written by this run" in caslie("tune", "gate", run).err
    assert (run / "gate.json").read_text(encoding="utf-8") == "{}"


def test_a_folder_without_outcomes_is_refused_in_one_line(caslie: Command, tmp_path: Path) -> None:
    ended = caslie("tune", "gate", tmp_path, "--json")
    assert ended.code == 2
    assert ended.document["error"]["type"] == "DataError"
