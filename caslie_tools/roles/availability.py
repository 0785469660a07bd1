"""Tells a model that is not there from one that failed: only what the latter did is a result.

A shopper's question goes on without a model that cannot be reached. What is written down for good, an evaluation or a
dataset, must not take its silence for an answer.
"""

from collections.abc import Iterable

from caslie_tools.domain import Vote
from caslie_tools.exceptions import EndpointUnavailableError, MissingExtraError


def raise_if_unavailable(error: BaseException) -> None:
    """Raises where an error comes from a model that is not there; does nothing for any other error.

    Raises:
        EndpointUnavailableError: If a server cannot be reached.
        MissingExtraError: If a dependency is not installed.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, EndpointUnavailableError | MissingExtraError):
            raise cause
        if isinstance(cause, ConnectionError):  # its own words may hold an address with a key in it
            raise EndpointUnavailableError(f"a model cannot be reached: {error}") from error
        cause = cause.__cause__


def raise_if_judge_unavailable(votes: Iterable[Vote]) -> None:
    """Raises where a judge abstained because its server is not there.

    Raises:
        EndpointUnavailableError: If there is such a vote.
    """
    for vote in votes:
        if vote.reason == f"failed: {EndpointUnavailableError.__name__}":
            raise EndpointUnavailableError(f"the judge {vote.judge} cannot be reached; check that its server runs")
