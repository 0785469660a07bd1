import re
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="calibrating needs the extra 'evaluation'")

from caslie_tools.pipeline.text_first import TextFirst
from tests.cli.commands import Command
from tests.tuning.text_first_runs import TASK, answered, text_first_run


def run_of(folder: Path, *, lost_below: float = 0.5) -> Path:
    """A run of 200 products, of which those with a low confidence are lost."""
    confidences = [1 - index / 200 for index in range(200)]
    return text_first_run(
        folder,
        [answered(index, confidence=each, lost=each < lost_below) for index, each in enumerate(confidences)],
    )


def test_the_thresholds_are_written_with_what_they_save_and_lose(caslie: Command, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    result = caslie("tune", "text-first", run)
    assert result.code == 0
    assert f"wrote {run / 'text-first.json'}; use it with: CASLIE_TEXT_FIRST=" in result.out
    row = rf"{TASK} +│ 200 +│ 200 +│ 0\.5000 +│ 50% +│ 50% +│ 50% +│ 0 \(0\.0%, at most 1\.5%\) +│ 0 "
    assert re.search(row, result.out)
    assert "guarantee for each task: with confidence 0.95, at most 2.0% of the answers are lost" in result.out
    assert "note: calibrated on the split validation" in result.err
    assert TextFirst.load(run / "text-first.json").thresholds == {TASK: 0.5}


def test_the_document_contains_the_thresholds_and_their_path(caslie: Command, tmp_path: Path) -> None:
    run, file = run_of(tmp_path / "run"), tmp_path / "mine.json"
    result = caslie("tune", "text-first", run, "--max-loss", "0.05", "--confidence", "0.9", "--out", file, "--json")
    assert result.code == 0
    assert result.document["written"] == str(file)
    assert result.document["guarantee"] == {"max_loss": 0.05, "confidence": 0.9}
    assert TextFirst.model_validate(result.document["text_first"]) == TextFirst.load(file)
    (task,) = result.document["tasks"]
    assert (task["answered"], task["lost"]) == (106, 5)


def test_without_a_threshold_no_file_is_written(caslie: Command, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", lost_below=2)
    result = caslie("tune", "text-first", run)
    assert result.code == 1
    assert "no task can be answered from text alone within the guarantee, so no file was written" in result.err
    assert f"{TASK}: the answers that the predictor is surest of" in result.err
    assert "older" not in result.err
    refused = caslie("tune", "text-first", run, "--json")
    assert (refused.code, refused.document["written"], refused.document["text_first"]) == (1, None, None)
    (run / "text-first.json").write_text("{}", encoding="utf-8")
    assert "text-first.json is older; this command did not write it" in caslie("tune", "text-first", run).err
    assert (run / "text-first.json").read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize("arguments", [("--max-loss", "2"), ("--confidence", "0"), ("--max-loss", "0.001")])
def test_a_guarantee_that_cannot_be_given_is_refused(
    caslie: Command, tmp_path: Path, arguments: tuple[str, str]
) -> None:
    result = caslie("tune", "text-first", run_of(tmp_path / "run"), *arguments, "--json")
    assert result.code == 2
    assert result.document["error"]["type"] == ("DataError" if arguments[1] == "0.001" else "InputError")


def test_what_a_request_prints(caslie: Command, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, instance = tmp_path / "text-first.json", tmp_path / "instance.json"
    instance.write_text('{"input": {"query": "red mug", "product title": "Stoneware mug"}, "images": ["mug-1.png"]}')
    first = {"predictor": "light-predictor", "guarantee": {"max_loss": 0.02, "confidence": 0.95}}
    for threshold, said in ((0.5, "no picture was looked at"), (0.9, "so the pictures were looked at")):
        TextFirst.model_validate({**first, "thresholds": {"product_substitute_identification": threshold}}).save(file)
        monkeypatch.setenv("CASLIE_TEXT_FIRST", str(file))
        result = caslie("predict", "psi", instance, "--explain")
        assert result.code == 0
        assert f"confidence from text alone 0.500, {threshold:.3f} needed: {said}" in result.out
        assert ("Colour: red" in result.out) is (threshold == 0.9)
