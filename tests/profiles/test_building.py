from pathlib import Path
from typing import Any

from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
)
from caslie_tools.profiles.building import build_predictor, build_profile
from caslie_tools.profiles.settings import ProfileSettings
from caslie_tools.store import CaptionStore
from caslie_tools.testing import FaultyServer


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
