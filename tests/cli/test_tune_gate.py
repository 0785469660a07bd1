import re
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="tuning a gate needs the extra 'evaluation'")

from caslie_tools.pipeline.tuned_gate import TunedGate
from tests.cli.commands import Command
from tests.tuning.voting_runs import TASK, good, guess, noise, run_of


def test_a_better_gate_is_written(caslie: Command, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", good, noise, noise, guess, guess)
    result = caslie("tune", "gate", run)
    assert result.code == 0
    assert f"wrote {run / 'gate.json'}; use it with: CASLIE_GATE=" in result.out
    row = r" +│ 300 +│ 300 +│ 75 +│ 75 +│ 0\.\d+ +│ 0\.\d+ +│ \+0\.\d+ \(\+0.* │ "
    assert re.search(rf"{TASK} +│ weights{row}no", result.out)
    assert re.search(rf"{TASK} +│ learned{row}yes", result.out)
    assert f"note: {TASK}: the judges noise-1, noise-2, noise-3, noise-4 add nothing and are not asked" in result.err
    assert "note: tuned on the split test" in result.err
    assert list(TunedGate.load(run / "gate.json").tasks) == [TASK]


def test_the_document_contains_the_gate_and_its_path(caslie: Command, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", good, noise, noise)
    result = caslie("tune", "gate", run, "--out", tmp_path / "mine.json", "--json")
    assert result.code == 0
    assert result.document["written"] == str(tmp_path / "mine.json")
    assert TunedGate.model_validate(result.document["gate"]) == TunedGate.load(tmp_path / "mine.json")
    (task,) = result.document["tasks"]
    assert task["better"]
    assert task["interval"]["low"] > 0


def test_a_gate_that_is_not_better_is_not_written(caslie: Command, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", noise, noise, noise)
    result = caslie("tune", "gate", run)
    assert result.code == 1
    assert "no gate is better than the untuned gate, so none was written" in result.err
    assert f"{TASK}: not shown to be better" in result.err
    refused = caslie("tune", "gate", run, "--json")
    assert (refused.code, refused.document["written"], refused.document["gate"]) == (1, None, None)
    assert not (run / "gate.json").exists()
    assert "older" not in result.err
    (run / "gate.json").write_text("{}", encoding="utf-8")
    assert "gate.json is older; this command did not write it" in caslie("tune", "gate", run).err
    assert (run / "gate.json").read_text(encoding="utf-8") == "{}"


def test_a_folder_without_outcomes_is_refused(caslie: Command, tmp_path: Path) -> None:
    result = caslie("tune", "gate", tmp_path, "--json")
    assert result.code == 2
    assert result.document["error"]["type"] == "DataError"
