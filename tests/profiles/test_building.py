from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from caslie_tools.backends.endpoints.language_model import EndpointLanguageModel
from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
)
from caslie_tools.domain import Caption, ImageRef, QueryContext
from caslie_tools.exceptions import SettingsError, UnsupportedModelError
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.profiles.building import build_predictor, build_profile
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.profiles.toml import load_profile_settings
from caslie_tools.roles.interfaces import JudgeRequest
from caslie_tools.roles.predictor import ModelPredictor
from caslie_tools.roles.utility import UtilityJudge
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import get_task
from caslie_tools.testing import Fault, FaultyServer
from tests.doubles import HashEmbeddings, draw_picture


async def test_building_a_profile_calls_no_server(tmp_path: Path) -> None:
    async with FaultyServer() as server:
        role: dict[str, Any] = {"urls": (server.url,), "model": "model", "max_attempts": 1}
        settings = ProfileSettings(
            name="mine",
            captioners=(EndpointCaptionerSettings(**role),),
            judges=tuple(EndpointJudgeSettings(**role, name=name) for name in ("one", "two", "three")),
            predictor=EndpointPredictorSettings(**role),
            embeddings=EndpointEmbeddingsSettings(**role),
        )
        profile = build_profile(settings)
        with CaptionStore.in_memory(profile.embeddings) as store:
            models = profile.models(store)
        assert server.requests == []
    assert [judge.get_name() for judge in models.judges] == ["one", "two", "three"]
    assert profile.name == "mine"


def test_a_predictor_gets_a_layout_only_for_raw_completion() -> None:
    settings = EndpointPredictorSettings(urls=("http://127.0.0.1:9/v1",), model="model", layout="mistral")
    assert build_predictor(settings).layout == "mistral"
    assert build_predictor(settings.model_copy(update={"prompt": "chat"})).layout is None


class TestUtility:
    """A profile file puts the judge ``utility`` into its jury."""

    def settings(
        self, tmp_path: Path, *lines: str, predictor: str = "", url: str = "http://127.0.0.1:1/v1"
    ) -> ProfileSettings:
        path = tmp_path / "mine.toml"
        text = f'[defaults]\nurls = ["{url}"]\nmodel = "tiny"\n[captioner]\n[[judges]]\nname = "helps"\n'
        path.write_text("\n".join([*lines, text, "[predictor]", predictor]), encoding="utf-8")
        return load_profile_settings(path)

    @pytest.fixture
    def store(self) -> CaptionStore:
        return CaptionStore.in_memory(HashEmbeddings())

    @pytest.mark.parametrize(("mode", "decider"), [("votes", None), ("decides", "utility")])
    def test_it_is_the_first_judge_and_may_decide(
        self, tmp_path: Path, store: CaptionStore, mode: str, decider: str | None
    ) -> None:
        models = build_profile(self.settings(tmp_path, f'utility = "{mode}"')).models(store)
        assert [judge.get_name() for judge in models.judges] == ["utility", "helps"]
        assert models.decider == decider
        assert Pipeline(store, models).cqe.decider == decider

    def test_without_it_the_jury_is_as_it_was(self, tmp_path: Path, store: CaptionStore) -> None:
        models = build_profile(self.settings(tmp_path)).models(store)
        assert [judge.get_name() for judge in models.judges] == ["helps"]
        assert models.decider is None

    @pytest.mark.parametrize(
        ("lines", "predictor", "message"),
        [
            (['utility = "decides"'], 'decoding = "sampled"', "the predictor 'tiny' reports no probabilities"),
            (['utility = "always"'], "", "utility: Input should be 'votes' or 'decides'"),
        ],
    )
    def test_what_it_cannot_do_is_refused_when_the_profile_is_read(
        self, tmp_path: Path, lines: list[str], predictor: str, message: str
    ) -> None:
        with pytest.raises(SettingsError, match=message):
            self.settings(tmp_path, *lines, predictor=predictor)

    def test_another_judge_of_that_name_is_refused(self, tmp_path: Path) -> None:
        settings = self.settings(tmp_path)
        judge = settings.judges[0].model_copy(update={"name": "utility"})
        with pytest.raises(ValidationError, match="a judge is named 'utility' already"):
            ProfileSettings.model_validate(settings.model_dump() | {"judges": (judge,), "utility": "votes"})

    async def test_it_compares_answers_in_the_wire_format_that_the_user_chose(
        self, tmp_path: Path, store: CaptionStore
    ) -> None:
        record = {"input": {"query": "mug", "product title": "Mug"}, "instruction": "Is it a substitute?"}
        instance = get_task("psi").read(record, [ImageRef(data=draw_picture("MUG"))])
        caption = Caption.given("A mug.", QueryContext(task="psi"))
        async with FaultyServer(models={"tiny": 8192}) as server:
            models = build_profile(self.settings(tmp_path, 'utility = "decides"', url=server.url)).models(store)
            pipeline = Pipeline(store, models, Settings(wire_format="paper"))
            await pipeline.gate(caption, caption.context, instance=instance)
            judge = models.judges[0]
            assert isinstance(judge, UtilityJudge)
            assert isinstance(judge.predictor, ModelPredictor)
            assert isinstance(judge.predictor.model, EndpointLanguageModel)
            await judge.predictor.model.endpoint.aclose()
            prompts = sorted(str(request.body["prompt"]) for request in server.requests)
        assert ["null" in prompt for prompt in prompts] == [False, True]
        assert all("### Options:\n[]" in prompt for prompt in prompts)

    async def test_a_server_without_probabilities_is_an_error_that_names_the_predictor(
        self, tmp_path: Path, store: CaptionStore
    ) -> None:
        instance = get_task("psi").read({"query": "mug", "product title": "Mug"}, [ImageRef(data=b"image")])
        request = JudgeRequest(context=QueryContext(task="psi"), caption="A mug.", instance=instance)
        async with FaultyServer(models={"tiny": 8192}) as server:
            server.default_fault = Fault.NO_LOGPROBS
            judge = build_profile(self.settings(tmp_path, 'utility = "votes"', url=server.url)).models(store).judges[0]
            with pytest.raises(UnsupportedModelError, match="the predictor tiny reports no probabilities"):
                await judge.ainvoke(request)
            assert isinstance(judge, UtilityJudge)
            assert isinstance(judge.predictor, ModelPredictor)
            assert isinstance(judge.predictor.model, EndpointLanguageModel)
            await judge.predictor.model.endpoint.aclose()

    async def test_it_votes_by_what_a_caption_does_to_an_answer_of_a_server(
        self, tmp_path: Path, store: CaptionStore
    ) -> None:
        instance = get_task("psi").read({"query": "mug", "product title": "Mug"}, [ImageRef(data=b"image")])
        request = JudgeRequest(context=QueryContext(task="psi"), caption="A mug.", instance=instance)
        async with FaultyServer(models={"tiny": 8192}) as server:
            profile = build_profile(self.settings(tmp_path, 'utility = "votes"', url=server.url))
            judge = profile.models(store).judges[0]
            assert isinstance(judge, UtilityJudge)
            vote = await judge.ainvoke(request)
            assert isinstance(judge.predictor, ModelPredictor)
            assert isinstance(judge.predictor.model, EndpointLanguageModel)
            await judge.predictor.model.endpoint.aclose()
            assert len(server.requests) == 2  # without and with the caption
        assert vote.failure is None
        assert vote.judge == "utility"
