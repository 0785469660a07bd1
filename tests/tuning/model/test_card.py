import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from caslie_tools.evaluation.significance import Interval
from caslie_tools.tuning.card import make_card, write_card
from caslie_tools.tuning.configuration import TuningSettings
from caslie_tools.tuning.report import TuningReport
from caslie_tools.tuning.scoring import TaskScore


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


def test_it_says_what_was_run_and_on_what(tmp_path: Path) -> None:
    path = write_card(report(tmp_path))
    card = path.read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "some-base"
    assert str(tmp_path) not in card  # nobody's business
    for said in (
        "| tuned on, sentiment_analysis | 120 |",
        "rank 4, alpha 32",
        "1,234 tuned, 5,678,900 of the base",
        "2.5000 at the first step, 0.2500 at the last",
        "| seed | 7 |",
        "| time | 61 s |",
        f"SHA-256 of `shop.jsonl`: `{hashlib.sha256((tmp_path / 'shop.jsonl').read_bytes()).hexdigest()}`",
        f"trl {version('trl')}",
        "None were taken.",
        "its files here state none",
    ):
        assert said in card, said


def test_scores_come_with_their_intervals(tmp_path: Path) -> None:
    card = make_card(report(tmp_path), {"sentiment_analysis": (score(0.25), score(0.75))})
    assert "Held out" in card
    assert "| sentiment_analysis | f1 | 40 | 0.250 (0.150 to 0.350) | 0.750 (0.650 to 0.850) |" in card
    validated = report(tmp_path, before={"sentiment_analysis": score(0.3)}, after={"sentiment_analysis": score(0.6)})
    card = make_card(validated)
    assert "On instances drawn from validation" in card
    assert "| 0.300 (0.200 to 0.400) | 0.600 (0.500 to 0.700) |" in card


def test_the_licence_of_the_base_is_told_where_its_card_states_one(tmp_path: Path) -> None:
    tuned = report(tmp_path)
    (tmp_path / "some-base" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A base\n")
    assert "its card states apache-2.0" in make_card(tuned)
    (tmp_path / "some-base" / "README.md").write_text("---\nlicense: [\n---\n")
    assert "state none" in make_card(tuned)


def test_reasons_from_the_data_stay_in_their_line(tmp_path: Path) -> None:
    bad = [{"index": 3, "reason": "its text holds `x` ![](https://evil.example/p.png)\n\n# Safe model <script>"}]
    card = make_card(report(tmp_path, left_out=bad))
    shown = r"its text holds \`x\` !\[\](https:\//evil.example/p.png) \# Safe model \<script\>"
    assert f"record 3: {shown}." in card
    assert "\n# Safe" not in card
