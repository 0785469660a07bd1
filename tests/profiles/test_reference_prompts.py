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
from caslie_tools.data.records import read_record
from caslie_tools.domain import ImageRef
from caslie_tools.evaluation.treatments import TreatmentRunner
from caslie_tools.exceptions import InstanceError
from caslie_tools.pipeline.response import Response
from caslie_tools.profiles.building import build_profile
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.profiles.toml import load_profile_settings, shipped_profiles
from caslie_tools.settings import Settings
from caslie_tools.tasks import get_task
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
        answer: What the predictor writes if it is free to.
    """

    def __init__(
        self, settings: ProfileSettings, captions: Mapping[str, str], rejected: Sequence[str], answer: str = "A"
    ) -> None:
        roles = settings.served_roles.values()
        super().__init__(
            models={role.model: 8192 for role in roles},
            respond=self._write,
            choose=self._choose_answer,
            guided_choice=any(role.constraint == "guided_choice" for role in roles),
        )
        self.captions = captions
        self.rejected = rejected
        self.answer = answer
        self.prompts: list[str] = []
        """The raw prompts that the predictor got."""
        self.conditioned: list[str] = []
        """The texts that captioner and judges got."""

    def _write(self, body: Mapping[str, Any]) -> str:
        if "prompt" in body:
            self.prompts.append(body["prompt"])
            return self.answer
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
    name: str, case: Mapping[str, Any], folder: Path, *, answer: str = "A", **settings: Any
) -> tuple[PublishedModels, Response]:
    """Runs a case through a profile, whose predictor writes the answer."""
    pictures = [draw_picture(str(number)) for number, _ in enumerate(case["votes"])]
    urls = [load_picture(picture).data_url(max_side=1024) for picture in pictures]
    captions = {url: text for url, text in zip(urls, case["captions"], strict=True) if text is not None}
    rejected = [text for text, vote in zip(case["captions"], case["votes"], strict=True) if vote == "no"]
    images = [ImageRef(data=picture) if vote else None for picture, vote in zip(pictures, case["votes"], strict=True)]
    record = {field: case[field] for field in ("instruction", "input", "options")}
    chosen = load_profile_settings(name)
    server = PublishedModels(chosen, captions, rejected, answer)
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


async def test_the_profile_paper_decodes_as_the_reference_does(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case["task"] == "category_classification" and case["votes"] == ["yes"])
    server, response = await run_case("paper", case, tmp_path)
    (predicted,) = (request.body for request in server.requests if request.body and "prompt" in request.body)
    # inference.py: SamplingParams(temperature=0.15, top_p=0.95, max_tokens=100), and nothing that binds the answer.
    assert (predicted["temperature"], predicted["top_p"], predicted["max_tokens"]) == (0.15, 0.95, 100)
    assert not {"guided_choice", "structured_outputs", "logprobs"} & {*predicted}
    assert (response.prediction.label, response.prediction.probabilities) == ("A", None)
    chats = [request.body["messages"] for request in server.requests if request.body and "messages" in request.body]
    systems = [chat[0]["content"] for chat in chats if chat[0]["role"] == "system"]
    # cqe.py: four of five judges. Any number of valid votes decides, so three that agree settle it.
    assert systems == ["You are a helpful AI assistant."] * 2
    assert len(chats) == 1 + 3


@pytest.mark.parametrize(("written", "label"), [("A", "A"), ("A: Toasters", "A"), ("a toaster?", None), ("", None)])
async def test_in_the_profile_paper_free_text_is_parsed_and_may_be_invalid(
    written: str, label: str | None, tmp_path: Path
) -> None:
    (case,) = (case for case in CASES if case["task"] == "category_classification" and case["votes"] == ["no"])
    _, response = await run_case("paper", case, tmp_path, answer=written)
    assert (response.prediction.label, response.prediction.text) == (label, written)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['task']}-{'-'.join(map(str, case['votes']))}")
async def test_the_way_of_the_reference_runs_in_an_evaluation_though_all_pictures_are_dead(
    case: dict[str, Any], tmp_path: Path
) -> None:
    """Captions of the dataset, the jury, and CASLIE: ``given_gated`` under the profile ``paper``."""
    chosen = load_profile_settings("paper")
    votes, captions = case["votes"], case["captions"]
    raw = {
        "task": case["task"],
        "split": "test",
        "instruction": case["instruction"],
        "output": get_task(case["task"]).fixed_labels[0] if not case["options"] else "A",
        "input": json.dumps(case["input"]),
        "options": json.dumps(case["options"]),
        "images": json.dumps([f"https://dead.example/{number}.jpg" for number, _ in enumerate(votes)]),
        "caption_info": json.dumps([caption or "NA" for caption in captions]),
    }
    server = PublishedModels(chosen, {}, [text for text, vote in zip(captions, votes, strict=True) if vote == "no"])
    async with server:
        profile = dataclasses.replace(build_profile(on(server.url, chosen)), embeddings=HashEmbeddings())
        with Caslie.open(tmp_path, profile=profile, settings=Settings(check_models=False)) as caslie:
            outcome = await TreatmentRunner(caslie.pipeline, ["given_gated"]).run(read_record(0, raw, base=tmp_path))
    treated = outcome.treatments["given_gated"]
    assert [caption.kept for caption in treated.captions] == [vote == "yes" for vote in votes]
    assert server.prompts == [case["prompts"]["mistral"]]


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


@pytest.mark.parametrize("case", [case for case in CASES if "yes" in case["votes"]], ids=lambda case: case["task"])
async def test_each_text_stands_once_in_the_prompts_of_captioner_and_judges(
    case: dict[str, Any], tmp_path: Path
) -> None:
    server, _ = await run_case("caslie-m", case, tmp_path, wire_format="corrected")
    reading = [text for text in server.conditioned if "Is everything that this caption says" not in text]
    assert len(reading) > 1
    for prompt in reading:
        data = json.loads(prompt.rpartition("<data>")[2].partition("</data>")[0])
        texts = [text for name, text in data.items() if name not in ("options", "information_from_image")]
        assert texts
        assert [one for one in texts if sum(one in other for other in texts) > 1] == []


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
