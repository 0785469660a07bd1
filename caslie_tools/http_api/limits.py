"""The limits of the HTTP API."""

from pydantic import Field

from caslie_tools.domain import FrozenModel


class ServerLimits(FrozenModel):
    """The limits of the HTTP API, over all clients."""

    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1)
    """Maximum size of a request. A larger one is refused before it is read to the end."""
    parallel: int = Field(default=8, ge=1)
    """Requests that are worked on at the same time."""
    waiting: int = Field(default=64, ge=0)
    """Requests that may wait for their turn. More are refused with status 503."""
    seconds: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """Time limit of a request, with its waiting time. A request that takes longer gets status 504."""
