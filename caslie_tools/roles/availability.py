"""Separates a model that cannot run at all from a model that failed on one request.

A shopper's question is answered without a model that cannot run. Results that are kept, such as an evaluation or a
dataset, must not treat its missing answers as results.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from caslie_tools.domain import JudgeFailure, Vote
from caslie_tools.exceptions import (
    EndpointRefusedError,
    EndpointTimeoutError,
    EndpointUnavailableError,
    MissingExtraError,
    ModelError,
    UnsupportedModelError,
)

ErrorT = TypeVar("ErrorT", bound=BaseException)

_FAILURES: tuple[tuple[type[Exception], JudgeFailure], ...] = (
    (MissingExtraError, "missing_dependency"),
    (EndpointUnavailableError, "unavailable"),
    (ConnectionError, "unavailable"),
    (EndpointTimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (EndpointRefusedError, "refused"),
    (UnsupportedModelError, "unsupported"),
)


def classify_failure(error: BaseException) -> JudgeFailure:
    """Returns why a judge failed: by the first error of a known type among the error and its causes."""
    for cause in _causes(error):
        for kind, failure in _FAILURES:
            if isinstance(cause, kind):
                return failure
    return "error"


def find_cause(error: BaseException, kind: type[ErrorT]) -> ErrorT | None:
    """Returns the first error of a type among an error and its causes."""
    return next((cause for cause in _causes(error) if isinstance(cause, kind)), None)


def raise_if_unavailable(error: BaseException) -> None:
    """Raises if an error comes from a model that cannot run. Does nothing for any other error.

    Raises:
        EndpointUnavailableError: If a server cannot be reached.
        MissingExtraError: If an optional dependency is not installed.
    """
    for cause in _causes(error):
        if isinstance(cause, EndpointUnavailableError | MissingExtraError):
            raise cause
        if isinstance(cause, ConnectionError):  # its message may contain an address with a key
            raise EndpointUnavailableError(f"a model cannot be reached: {error}") from error


def raise_if_judge_unavailable(votes: Iterable[Vote]) -> None:
    """Raises if a judge abstained because it cannot run.

    Raises:
        EndpointUnavailableError: If the server of a judge cannot be reached.
        ModelError: If a judge lacks an optional dependency, or an ability of its model.
    """
    for vote in votes:
        if vote.failure == "unavailable":
            raise EndpointUnavailableError(f"the judge {vote.judge} cannot be reached; check that its server runs")
        if vote.failure in ("missing_dependency", "unsupported"):
            raise ModelError(f"the judge {vote.judge} cannot run: {vote.reason}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
