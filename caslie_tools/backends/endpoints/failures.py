"""The errors of failed requests: whether another attempt may succeed, and what to report to the user."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from pydantic import SecretStr

from caslie_tools.exceptions import EndpointError, EndpointRefusedError

_MAX_QUOTED: Final = 300
_MIN_KEY: Final = 8
_HINTS: Final = {
    401: "set its API key",
    403: "set an API key that may use this model",
    404: "check the model's name and that the URL ends in /v1",
}


class RetryableError(Exception):
    """An attempt failed, but another attempt may succeed. The message describes the failure.

    Args:
        message: What failed.
        retry_after: Seconds that the server asks to wait.
        is_overloaded: Whether the server works, but has too many requests.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0, is_overloaded: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_overloaded = is_overloaded


def error_for_status(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    model: str,
    server: str,
    api_key: SecretStr | None,
) -> RetryableError | EndpointError:
    """Returns the error for a response whose status is not a success.

    Args:
        status: The HTTP status code.
        headers: The headers of the response.
        content: The body of the response.
        model: The model that was requested.
        server: The server's host and port.
        api_key: Removed from the server's message.
    """
    message = sanitize(_message_of(content), api_key)
    reason = f": {message!r}" if message else ""
    if status == 429:
        return RetryableError(
            f"{server} has too many requests ({status}){reason}", retry_after=_retry_after(headers), is_overloaded=True
        )
    if status == 408 or status >= 500:
        return RetryableError(f"{server} failed ({status}){reason}", retry_after=_retry_after(headers))
    if status < 400:
        return EndpointRefusedError(
            f"model {model!r}: {server} redirects to another address ({status}), which is not followed; "
            "set the URL to that address"
        )
    hint = _HINTS.get(status, "check the request against the model's limits")
    return EndpointRefusedError(f"model {model!r} at {server} refused the request ({status}){reason}; {hint}")


def without_key(content: bytes, api_key: SecretStr | None) -> bytes:
    """Returns the body of a response without the API key, which a server may repeat in a name or in a caption."""
    key = api_key.get_secret_value().strip() if api_key else ""
    # A shorter key would also be found in usual words.
    return content.replace(key.encode(), b"***") if len(key) >= _MIN_KEY else content


def sanitize(text: str, api_key: SecretStr | None) -> str:
    """Returns text from a server as one short printable line without the API key."""
    key = api_key.get_secret_value().strip() if api_key else ""
    if key:
        text = text.replace(key, "***")
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * _MAX_QUOTED])
    line = " ".join(printable.split())
    return line if len(line) <= _MAX_QUOTED else line[:_MAX_QUOTED] + "..."


def _message_of(content: bytes) -> str:
    """Returns a server's error message: in OpenAI's form, in FastAPI's form, or the whole body."""
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")
    for name in ("error", "message", "detail"):
        if isinstance(message, dict) and name in message:
            message = message[name]
    return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Returns the seconds of the header ``Retry-After``, which has seconds or a date; 0 if it has neither."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
