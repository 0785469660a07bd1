"""The limits of the HTTP API."""

from pydantic import Field

from caslie_tools.domain import FrozenModel


class ServerLimits(FrozenModel):
    """The limits of the HTTP API, over all clients."""

    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1)
    """Maximum size of a request. A larger one is refused before it is read to the end."""
    max_total_bytes: int = Field(default=128 * 1024 * 1024, ge=1)
    """Maximum size of all requests that are received or worked on. Beyond it, requests are refused with status 503."""
    max_lists: int = Field(default=100_000, ge=1)
    """Maximum number of lists and objects in the JSON of a request."""
    max_values: int = Field(default=1_000_000, ge=1)
    """Maximum number of values in the JSON of a request. Commas in texts count as well."""
    body_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Time in which a client must have sent its request. A slower one gets status 408."""
    parallel: int = Field(default=8, ge=1)
    """Requests that are worked on at the same time."""
    waiting: int = Field(default=64, ge=0)
    """Requests that may wait for their turn. More are refused with status 503."""
    seconds: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """Time limit of a request, with its waiting time. A request that takes longer gets status 504."""
