"""Text-first thresholds: what they say of an answer, what a file of them may hold, and where they are set."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.caslie import Caslie
from caslie_tools.domain import Prediction
from caslie_tools.exceptions import SettingsError, UnsupportedModelError
from caslie_tools.pipeline.text_first import Guarantee, TextFirst
from caslie_tools.profiles.toml import load_profile_settings
from caslie_tools.settings import Settings
from tests.doubles import light_profile

TASK = "product_substitute_identification"
FIRST = TextFirst(
    predictor="light-predictor",
    guarantee=Guarantee(max_loss=0.02, confidence=0.95),
    thresholds={TASK: 0.75},
)


@pytest.mark.parametrize(
    ("label", "probability", "confidence", "enough"),
    [
        ("yes", 0.8, 0.8, True),
        ("yes", 0.75, 0.75, True),
        ("yes", 0.74, 0.74, False),
        ("no", 0.8, 0.2, False),  # the confidence is that of the answer that is given
        (None, 0.9, 0.0, False),  # an answer that is no label
    ],
)
def test_an_answer_is_enough_if_its_probability_reaches_the_threshold(
    label: str | None, probability: float, confidence: float, enough: bool
) -> None:
    probabilities = {"yes": probability, "no": round(1 - probability, 9)}
    answer = FIRST.judge(Prediction(task=TASK, label=label, probabilities=probabilities))
    assert (answer.confidence, answer.threshold, answer.is_enough) == (confidence, 0.75, enough)


@pytest.mark.parametrize("probabilities", [None, {}])
def test_an_answer_without_probabilities_is_refused(probabilities: dict[str, float] | None) -> None:
    with pytest.raises(UnsupportedModelError, match="the predictor light-predictor reports no probabilities"):
        FIRST.judge(Prediction(task=TASK, label="yes", probabilities=probabilities))


class TestFile:
    def test_it_comes_back_as_it_was_written(self, tmp_path: Path) -> None:
        path = tmp_path / "text-first.json"
        FIRST.save(path)
        assert TextFirst.load(path) == FIRST

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"version": 2},
                "its version is one that this version of caslie-tools does not read; update caslie-tools, or",
            ),
            ({"version": 2, "rule": "all"}, "write the file again with `caslie tune text-first`"),
            ({"predictor": None}, "predictor"),
            ({"thresholds": {}}, "thresholds"),
            ({"thresholds": {TASK: 1.5}}, f"thresholds.{TASK}"),
            ({"guarantee": {"max_loss": 0, "confidence": 0.95}}, "guarantee.max_loss"),
            ({"guarantee": {"max_loss": 0.02, "confidence": 1}}, "guarantee.confidence"),
            ({"guarantee": {"max_loss": 0.02}}, "guarantee.confidence"),
            ({"judges": []}, "judges"),
        ],
    )
    def test_other_content_is_refused(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        path = tmp_path / "text-first.json"
        path.write_text(json.dumps(FIRST.model_dump(mode="json") | change))
        with pytest.raises(SettingsError, match=r"the text-first file .*text-first\.json cannot be used") as refused:
            TextFirst.load(path)
        assert message in str(refused.value)

    def test_a_missing_and_an_incomplete_file_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="cannot be read: No such file"):
            TextFirst.load(tmp_path / "gone.json")
        (tmp_path / "torn.json").write_text('{"version": 1, "pred')
        with pytest.raises(SettingsError, match="the file: Invalid JSON"):
            TextFirst.load(tmp_path / "torn.json")
        with pytest.raises(SettingsError, match="cannot be written"):
            FIRST.save(tmp_path / "gone" / "text-first.json")


class TestUse:
    @pytest.fixture
    def files(self, tmp_path: Path) -> dict[str, Path]:
        paths = {}
        for name, threshold in (("own", 0.25), ("other", 0.75)):
            paths[name] = tmp_path / f"{name}.json"
            FIRST.model_copy(update={"thresholds": {TASK: threshold}}).save(paths[name])
        return paths

    def threshold(self, folder: Path, *, profile: Path | None = None, **settings: Any) -> float | None:
        chosen = dataclasses.replace(light_profile(), text_first=profile)
        with Caslie.open(folder / "store", profile=chosen, settings=Settings(**settings)) as caslie:
            found = caslie.pipeline.text_first
            return None if found is None else found.thresholds[TASK]

    def test_the_setting_comes_before_that_of_the_profile(self, tmp_path: Path, files: dict[str, Path]) -> None:
        assert self.threshold(tmp_path) is None
        assert self.threshold(tmp_path, profile=files["own"]) == 0.25
        assert self.threshold(tmp_path, profile=files["own"], text_first=files["other"]) == 0.75
        assert self.threshold(tmp_path, profile=files["own"], text_first=None) is None

    def test_it_can_be_set_in_the_environment(
        self, tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_TEXT_FIRST", str(files["other"]))
        assert self.threshold(tmp_path, profile=files["own"]) == 0.75

    def test_thresholds_of_another_predictor_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "text-first.json"
        FIRST.model_copy(update={"predictor": "another"}).save(path)
        with pytest.raises(
            SettingsError, match="calibrated for the predictor another, but the predictor is light-predictor"
        ):
            self.threshold(tmp_path, text_first=path)

    def test_in_the_file_of_a_profile_the_path_is_relative_to_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_TEXT_FIRST", "elsewhere.json")  # the setting, which is no part of the profile
        path = tmp_path / "mine.toml"
        roles = (
            '[defaults]\nurls = ["http://127.0.0.1:8000/v1"]\nmodel = "tiny"\n[captioner]\n[[judges]]\n[predictor]\n'
        )
        path.write_text(f'text_first = "tuned/text-first.json"\n{roles}')
        assert load_profile_settings(path).text_first == tmp_path / "tuned" / "text-first.json"
        path.write_text(roles)
        assert load_profile_settings(path).text_first is None
