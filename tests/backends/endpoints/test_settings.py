import pytest
from pydantic import ValidationError

from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
    EndpointSettings,
)
from caslie_tools.settings import Settings

SECRET = "sk-never-to-be-seen"
URL = "http://127.0.0.1:8000/v1"


class TestEndpointSettings:
    def test_the_defaults_are_the_documented_ones(self) -> None:
        endpoint = EndpointSettings(urls=(URL,), model="tiny")
        assert (endpoint.timeout_seconds, endpoint.max_concurrency, endpoint.max_attempts) == (50, 8, 3)
        assert (endpoint.max_response_bytes, endpoint.breaker_failures, endpoint.breaker_seconds) == (4 * 2**20, 5, 30)
        assert endpoint.loaded_from == "tiny"

    @pytest.mark.parametrize(
        ("role", "limit"),
        [
            (EndpointCaptionerSettings, "captioner_timeout_seconds"),
            (EndpointJudgeSettings, "judge_timeout_seconds"),
            (EndpointPredictorSettings, "predictor_timeout_seconds"),
        ],
    )
    def test_a_call_ends_before_the_time_limit_of_its_role(self, role: type[EndpointSettings], limit: str) -> None:
        # Otherwise the limit cancels the call, and a server that hangs never counts as failed.
        assert role.model_fields["timeout_seconds"].default < Settings.model_fields[limit].default

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://127.0.0.1/v1",
            "127.0.0.1:8000/v1",
            "http:///v1",
            "http://127.0.0.1:8000",
            "http://127.0.0.1:8000/v1/chat/completions",
            "http://127.0.0.1:99999/v1",
            "http://127.0.0.1:0/v1",
            "http://[::1/v1",
            "http://127.0.0.1/v1?x=1",
            f"http://me:{SECRET}@127.0.0.1/v1",
            f"http://{SECRET}@127.0.0.1/v1",
        ],
    )
    def test_an_invalid_base_url_is_refused_and_not_shown(self, url: str) -> None:
        with pytest.raises(ValidationError) as error:
            EndpointSettings(urls=(url,), model="tiny")
        assert SECRET not in str(error.value)

    def test_a_trailing_slash_is_removed(self) -> None:
        assert EndpointSettings(urls=(URL + "/",), model="tiny").urls == (URL,)

    @pytest.mark.parametrize(
        "setting",
        [
            {"urls": ()},
            {"model": ""},
            {"model": "--trust-remote-code"},
            {"weights": "-x"},
            {"timeout_seconds": 0},
            {"timeout_seconds": float("inf")},
            {"max_concurrency": 0},
            {"max_attempts": 0},
            {"max_response_bytes": 0},
            {"breaker_seconds": -1},
            {"tiemout_seconds": 3},
            {"api_key": "two\nlines"},
        ],
    )
    def test_an_invalid_setting_is_refused(self, setting: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            EndpointSettings.model_validate({"urls": (URL,), "model": "tiny"} | setting)

    def test_settings_are_frozen(self) -> None:
        endpoint = EndpointSettings(urls=(URL,), model="tiny")
        with pytest.raises(ValidationError):
            endpoint.model = "other"  # type: ignore[misc]

    def test_the_key_is_in_no_text_form(self) -> None:
        endpoint = EndpointJudgeSettings(urls=(URL,), model="tiny", api_key=SECRET)
        assert SECRET not in f"{endpoint!r} {endpoint} {endpoint.model_dump()} {endpoint.model_dump_json()}"
        assert endpoint.api_key is not None
        assert endpoint.api_key.get_secret_value() == SECRET

    def test_a_blank_key_is_none(self) -> None:
        assert EndpointSettings(urls=(URL,), model="tiny", api_key=" ").api_key is None


class TestRoleSettings:
    def test_a_judges_default_name_is_its_models_name(self) -> None:
        assert EndpointJudgeSettings(urls=(URL,), model="tiny").name == "tiny"

    def test_the_predictors_defaults_are_the_papers_decoding(self) -> None:
        predictor = EndpointPredictorSettings(urls=(URL,), model="tiny")
        assert (predictor.max_tokens, predictor.temperature, predictor.top_p) == (100, 0.15, 0.95)
        assert predictor.prompt == "completion"

    def test_an_unknown_layout_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            EndpointPredictorSettings(urls=(URL,), model="tiny", layout="chatml")
