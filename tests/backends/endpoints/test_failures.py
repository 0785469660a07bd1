import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from caslie_tools.backends.endpoints.failures import RetryableError, error_for_status, sanitize
from caslie_tools.exceptions import EndpointError, EndpointRefusedError

KEY = SecretStr("sk-4711")


def failure(status: int, content: bytes = b"", **headers: str) -> RetryableError | EndpointError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_for_status(status, named, content, model="m", server="h:1", api_key=KEY)


@pytest.mark.parametrize(
    ("body", "quoted"),
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
def test_the_servers_message_is_quoted_on_one_printable_line(body: Any, quoted: str) -> None:
    assert str(failure(400, json.dumps(body).encode())) == (
        f"model 'm' at h:1 refused the request (400): {quoted!r}; check the request against the model's limits"
    )


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b"x" * 100_000, b"{}"])
def test_a_long_or_unreadable_message_is_shortened(content: bytes) -> None:
    refused = failure(403, content)
    assert isinstance(refused, EndpointRefusedError)
    assert len(str(refused)) < 500


def test_the_key_is_removed_before_the_line_is_shortened() -> None:
    line = sanitize("x" * 297 + KEY.get_secret_value(), KEY)
    assert line == "x" * 297 + "***"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_temporary_failures_are_retryable(status: int) -> None:
    error = failure(status, Retry_After="1.5")
    assert isinstance(error, RetryableError)
    assert error.retry_after == 1.5
    assert error.is_overloaded is (status == 429)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 405, 409, 413, 422])
def test_other_failures_are_not_retryable(status: int) -> None:
    assert isinstance(failure(status), EndpointRefusedError)


def test_retry_after_may_be_a_date() -> None:
    error = failure(503, Retry_After=format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True))
    assert isinstance(error, RetryableError)
    assert 50 < error.retry_after <= 60
