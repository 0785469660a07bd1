"""Calls that the tests of endpoints make."""

from typing import Any

from caslie_tools.backends.endpoints.endpoint import Endpoint

MESSAGES = [{"role": "user", "content": "Does it help?"}]
SHORT_SECONDS = 0.3
"""The deadline of calls that have to reach it."""


async def ask(endpoint: Endpoint, **arguments: Any) -> str:
    """Sends a chat request and returns the text of the response."""
    return (await endpoint.chat(MESSAGES, max_tokens=4, **arguments)).text


async def ask_about(endpoint: Endpoint, number: int) -> str:
    """Sends a chat request with a prompt of its own and returns the text of the response."""
    return (await endpoint.chat([{"role": "user", "content": f"Does number {number} help?"}], max_tokens=4)).text
