"""The prompts of the published models, through the shipped profiles, against those of the reference implementation.

``reference_prompts.json`` holds what the reference's own code builds for made-up instances, with captions that are kept
(vote ``yes``), rejected (``no``) or missing (null). Here the whole pipeline builds the prompts, and a server receives
them.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.backends.endpoints.settings import EndpointEmbeddingsSettings, EndpointSettings
from caslie_tools.caslie import Caslie
from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import InstanceError
from caslie_tools.pipeline.response import Response
from caslie_tools.profiles.building import build_profile
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.profiles.toml import load_profile_settings, shipped_profiles
from caslie_tools.settings import Settings
from caslie_tools.testing import FaultyServer
from tests.doubles import HashEmbeddings, draw_picture, load_picture

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("reference_prompts.json").read_text())["cases"]
PUBLISHED = [name for name in shipped_profiles() if load_profile_settings(name).predictor.model.startswith("NingLab/")]


class PublishedModels(FaultyServer):
    """Serves all models of a profile. Its captions and votes are those of one case.

    Args:
        settings: The profile.
        captions: The captions by the data URL of the picture.
        rejected: The captions that the judges reject.
    """

    def __init__(self, settings: ProfileSettings, captions: Mapping[str, str], rejected: Sequence[str]) -> None:
        roles = settings.served_roles.values()
        super().__init__(
            models={role.model: 8192 for role in roles},
            respond=self._write,
            choose=self._choose_answer,
            guided_choice=any(role.constraint == "guided_choice" for role in roles),
        )
        self.captions = captions
        self.rejected = rejected
        self.prompts: list[str] = []
        """The raw prompts that the predictor got."""
        self.conditioned: list[str] = []
        """The texts that captioner and judges got."""

    def _write(self, body: Mapping[str, Any]) -> str:
        if "prompt" in body:
            self.prompts.append(body["prompt"])
            return "A"
        image, text = body["messages"][-1]["content"]
        self.conditioned.append(text["text"])
        return self.captions[image["image_url"]["url"]]

    def _choose_answer(self, body: Mapping[str, Any], choices: Sequence[str]) -> str:
        if "prompt" in body:
            self.prompts.append(body["prompt"])
            return choices[0]
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        self.conditioned.append(text)
        return "No" if any(json.dumps(caption, ensure_ascii=False) in text for caption in self.rejected) else "Yes"


def on(server: str, settings: ProfileSettings) -> ProfileSettings:
    """Returns a profile with all its models on one server."""

    def moved(role: Any) -> EndpointSettings:
        served: EndpointSettings = role.model_copy(update={"urls": (server,)})
        return served

    return settings.model_copy(
        update={
            "captioners": tuple(map(moved, settings.captioners)),
            "judges": tuple(map(moved, settings.judges)),
            "predictor": moved(settings.predictor),
            "embeddings": EndpointEmbeddingsSettings(urls=(server,), model="not called"),
        }
    )


async def run_case(
    name: str, case: Mapping[str, Any], folder: Path, **settings: Any
) -> tuple[PublishedModels, Response]:
    """Runs a case through a profile."""
    pictures = [draw_picture(str(number)) for number, _ in enumerate(case["votes"])]
    urls = [load_picture(picture).data_url(max_side=1024) for picture in pictures]
    captions = {url: text for url, text in zip(urls, case["captions"], strict=True) if text is not None}
    rejected = [text for text, vote in zip(case["captions"], case["votes"], strict=True) if vote == "no"]
    images = [ImageRef(data=picture) if vote else None for picture, vote in zip(pictures, case["votes"], strict=True)]
    record = {field: case[field] for field in ("instruction", "input", "options")}
    chosen = load_profile_settings(name)
    server = PublishedModels(chosen, captions, rejected)
    async with server:
        profile = dataclasses.replace(build_profile(on(server.url, chosen)), embeddings=HashEmbeddings())
        with Caslie.open(folder, profile=profile, settings=Settings(check_models=False, **settings)) as caslie:
            response = await caslie.apredict(case["task"], record, images=images)
    assert [result.error for result in response.image_results] == ["" for vote in case["votes"] if vote]
    assert [result.kept for result in response.image_results] == [vote == "yes" for vote in case["votes"] if vote]
    return server, response


async def prompt_of(name: str, case: Mapping[str, Any], folder: Path, **settings: Any) -> str:
    """Runs a case through a profile, and returns the prompt that the predictor gets."""
    server, _ = await run_case(name, case, folder, **settings)
    (prompt,) = server.prompts
    return prompt


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['task']}-{'-'.join(map(str, case['votes']))}")
async def test_the_predictor_gets_the_reference_s_prompt_character_for_character(
    name: str, case: dict[str, Any], tmp_path: Path
) -> None:
    layout = load_profile_settings(name).predictor.layout
    assert await prompt_of(name, case, tmp_path) == case["prompts"][layout]


@pytest.mark.parametrize("name", PUBLISHED)
async def test_captioner_and_judges_of_answerability_get_the_question_without_the_document(
    name: str, tmp_path: Path
) -> None:
    (case,) = (case for case in CASES if case["task"] == "answerability_prediction" and case["votes"] == ["yes"])
    server, _ = await run_case(name, case, tmp_path)
    given = case["input"]
    reading = [text for text in server.conditioned if "Is everything that this caption says" not in text]
    assert len(reading) > 1
    for text in reading:
        assert given["question"] in text
        assert not any(review in text for review in given["document"])


@pytest.mark.parametrize("name", PUBLISHED)
async def test_a_long_review_fits_the_judges_and_reaches_the_predictor_whole(name: str, tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case["task"] == "sentiment_analysis" and case["votes"] == ["yes"])
    review = "The seam came apart after a week. " * 600
    server, response = await run_case(name, {**case, "input": {"review": review}}, tmp_path)
    assert max(len(text) for text in server.conditioned) < 2 * 2048
    assert review in server.prompts[0]
    assert [warning for warning in response.warnings if "of 20400 characters of text" in warning]


def test_all_published_models_have_a_profile() -> None:
    models = {load_profile_settings(name).predictor.model for name in PUBLISHED}
    assert models == {"NingLab/CASLIE-L", "NingLab/CASLIE-M", "NingLab/CASLIE-S"}


@pytest.mark.parametrize("name", PUBLISHED)
async def test_a_profile_of_published_models_fills_in_no_text(name: str, tmp_path: Path) -> None:
    by_task = {case["task"]: case for case in CASES}
    with pytest.raises(InstanceError, match="missing instruction; the wire format 'paper' fills in nothing"):
        await prompt_of(name, by_task["category_classification"] | {"instruction": ""}, tmp_path)
    with pytest.raises(InstanceError, match="missing options; "):
        await prompt_of(name, by_task["sentiment_analysis"] | {"options": []}, tmp_path)


async def test_another_wire_format_changes_the_whole_prompt(tmp_path: Path) -> None:
    (case,) = (
        case for case in CASES if case["task"] == "product_substitute_identification" and case["votes"] == ["no"]
    )
    prompt = await prompt_of("caslie-m", case, tmp_path, wire_format="corrected")
    assert "null" not in prompt
    assert "### Options" not in prompt
    assert "\u2013" in prompt  # unescaped
