"""Types of the fixtures that connect endpoints to servers."""

from collections.abc import Callable
from typing import Any, Protocol

from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.testing import FaultyServer


class RecordedSleep:
    """Returns at once instead of sleeping, and records for how long it was asked to sleep."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


class Connect(Protocol):
    """Creates an endpoint over servers."""

    def __call__(
        self, *servers: FaultyServer, clock: Callable[[], float] | None = None, **settings: Any
    ) -> Endpoint: ...
