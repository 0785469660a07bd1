import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from caslie_tools.backends.endpoints.failures import TryAgainError, clean, status_failure
from caslie_tools.exceptions import EndpointError, EndpointRefusedError

KEY = SecretStr("sk-4711")


def failure(status: int, content: bytes = b"", **headers: str) -> TryAgainError | EndpointError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_failure(status, named, content, model="m", server="h:1", api_key=KEY)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"error": {"message": "too long"}}, "too long"),
        ({"error": "too long"}, "too long"),
        ({"object": "error", "message": "too long"}, "too long"),
        ({"detail": [{"loc": ["body"], "msg": "too long"}]}, '[{"loc": ["body"], "msg": "too long"}]'),
        ("too long", "too long"),
        ({"error": {"message": "a\n\x1b[31mred\u202e"}}, "a [31mred"),
        ({"error": {"message": "key sk-4711 is wrong"}}, "key *** is wrong"),
    ],
)
def test_what_a_server_says_is_shown_on_one_clean_line(told: Any, shown: str) -> None:
    assert str(failure(400, json.dumps(told).encode())) == (
        f"model 'm' at h:1 refused the request (400): {shown!r}; check the request against the model's limits"
    )


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b"x" * 100_000, b"{}"])
def test_whatever_it_says_the_message_is_short(content: bytes) -> None:
    refused = failure(403, content)
    assert isinstance(refused, EndpointRefusedError)
    assert len(str(refused)) < 500


def test_a_key_is_hidden_before_the_line_is_cut() -> None:
    said = clean("x" * 297 + KEY.get_secret_value(), KEY)
    assert said == "x" * 297 + "***"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass(status: int) -> None:
    passing = failure(status, Retry_After="1.5")
    assert isinstance(passing, TryAgainError)
    assert passing.retry_after == 1.5
    assert passing.is_well is (status == 429)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 405, 409, 413, 422])
def test_what_does_not(status: int) -> None:
    assert isinstance(failure(status), EndpointRefusedError)


def test_a_date_to_wait_until() -> None:
    passing = failure(503, Retry_After=format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True))
    assert isinstance(passing, TryAgainError)
    assert 50 < passing.retry_after <= 60
