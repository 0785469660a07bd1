"""What a failed request means: whether another attempt may help, and what to tell."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from pydantic import SecretStr

from caslie_tools.exceptions import EndpointError, EndpointRefusedError

_MOST_SAID: Final = 300
_HINTS: Final = {
    401: "set its API key",
    403: "set an API key that may use this model",
    404: "check the model's name and that the URL ends in /v1",
}


class TryAgainError(Exception):
    """An attempt failed in a way that another may not; the message says how."""

    def __init__(self, message: str, *, retry_after: float = 0.0, is_well: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""
        self.is_well = is_well
        """Whether the server is well, and only has too much to do."""


def status_failure(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    model: str,
    server: str,
    api_key: SecretStr | None,
) -> TryAgainError | EndpointError:
    """Returns the error for a status that is not a success.

    Args:
        status: HTTP's number of it.
        headers: The answer's headers.
        content: The answer's body.
        model: The model that was asked for.
        server: The server's host and port.
        api_key: Taken out of what the server says.
    """
    said = clean(_said(content), api_key)
    because = f": {said!r}" if said else ""
    if status == 429:
        message = f"{server} has too much to do ({status}){because}"
        return TryAgainError(message, retry_after=_retry_after(headers), is_well=True)
    if status == 408 or status >= 500:
        return TryAgainError(f"{server} failed ({status}){because}", retry_after=_retry_after(headers))
    if status < 400:
        return EndpointRefusedError(f"model {model!r} at {server} is elsewhere ({status}): set the URL it has there")
    hint = _HINTS.get(status, "check the request against the model's limits")
    return EndpointRefusedError(f"model {model!r} at {server} refused the request ({status}){because}; {hint}")


def clean(text: str, api_key: SecretStr | None) -> str:
    """Returns what somebody else said as one bounded line that can be shown, without the API key."""
    key = api_key.get_secret_value().strip() if api_key else ""
    if key:
        text = text.replace(key, "***")
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * _MOST_SAID])
    line = " ".join(printable.split())
    return line if len(line) <= _MOST_SAID else line[:_MOST_SAID] + "..."


def _said(content: bytes) -> str:
    """What a server said of its error: in OpenAI's form, in FastAPI's, or just like that."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")
    for name in ("error", "message", "detail"):
        if isinstance(told, dict) and name in told:
            told = told[name]
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait: it says so in seconds, or as a date."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
