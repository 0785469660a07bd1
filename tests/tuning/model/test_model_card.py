import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from caslie_tools.evaluation.significance import Interval
from caslie_tools.exceptions import InputError
from caslie_tools.tuning.model_card import render_model_card, write_model_card
from caslie_tools.tuning.report import TuningReport
from caslie_tools.tuning.scoring import TaskScore
from caslie_tools.tuning.settings import TuningSettings


def score(value: float) -> TaskScore:
    return TaskScore(
        metric="f1",
        value=value,
        interval=Interval(low=value - 0.1, high=value + 0.1),
        accuracy=0.5,
        invalid=0.0,
        count=40,
    )


def report(tmp_path: Path, **changed: Any) -> TuningReport:
    base, data = tmp_path / "some-base", tmp_path / "shop.jsonl"
    base.mkdir(exist_ok=True)
    data.write_text("{}\n")
    facts: dict[str, Any] = {
        "settings": TuningSettings(base=str(base), data=str(data), out=tmp_path / "shop-model", rank=4, seed=7),
        "adapter": tmp_path,
        "train": {"sentiment_analysis": 120},
        "validation": {},
        "data": "ab" * 32,
        "trainable": 1234,
        "parameters": 5678900,
        "steps": 3,
        "first_loss": 2.5,
        "last_loss": 0.25,
        "seconds": 61.4,
        "device": "cpu",
        "processes": 1,
        "dtype": "float32",
    }
    return TuningReport(**facts | changed)


def test_the_card_has_the_data_the_recipe_and_the_versions(tmp_path: Path) -> None:
    path = write_model_card(report(tmp_path))
    card = path.read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "some-base"
    assert str(tmp_path) not in card  # no local paths
    for text in (
        "| training, sentiment_analysis | 120 |",
        "rank 4, alpha 32",
        "1,234 in the adapter, 5,678,900 in the base",
        "2.5000 at the first step, 0.2500 at the last step",
        "| seed | 7 |",
        "| time | 61 s |",
        f"SHA-256 of `shop.jsonl`: `{hashlib.sha256((tmp_path / 'shop.jsonl').read_bytes()).hexdigest()}`",
        f"trl {version('trl')}",
        "The model was not scored.",
        "Its local files do not state one",
    ):
        assert text in card, text


def test_scores_have_intervals(tmp_path: Path) -> None:
    card = render_model_card(report(tmp_path), {"sentiment_analysis": (score(0.25), score(0.75))})
    assert "Scores on held-out data" in card
    assert "| sentiment_analysis | f1 | 40 | 0.250 (0.150 to 0.350) | 0.750 (0.650 to 0.850) |" in card
    validated = report(tmp_path, before={"sentiment_analysis": score(0.3)}, after={"sentiment_analysis": score(0.6)})
    card = render_model_card(validated)
    assert "Scores on a sample of the split validation" in card
    assert "| 0.300 (0.200 to 0.400) | 0.600 (0.500 to 0.700) |" in card


def test_the_licence_is_the_one_in_the_card_of_the_base(tmp_path: Path) -> None:
    tuned = report(tmp_path)
    (tmp_path / "some-base" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A base\n")
    assert "Its card states apache-2.0." in render_model_card(tuned)
    (tmp_path / "some-base" / "README.md").write_text("---\nlicense: [\n---\n")
    assert "do not state one" in render_model_card(tuned)


def test_the_card_of_the_merged_weights_is_the_same(tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    merged.mkdir()
    path = write_model_card(report(tmp_path, merged=merged))
    assert (merged / "README.md").read_text() == path.read_text()


def test_a_card_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_model_card(report(tmp_path, adapter=tmp_path / "nowhere"))


def test_texts_from_the_data_are_escaped_and_on_one_line(tmp_path: Path) -> None:
    bad = [{"index": 3, "reason": "its text holds `x` ![](https://evil.example/p.png)\n\n# Safe model <script>"}]
    card = render_model_card(report(tmp_path, left_out=bad))
    shown = r"its text holds \`x\` !\[\](https:\//evil.example/p.png) \# Safe model \<script\>"
    assert f"Record 3 is left out: {shown}." in card
    assert "\n# Safe" not in card
