"""Votes of judges that failed, and what to report about them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from caslie_tools.domain import GateDecision, JudgeFailure, Vote
from caslie_tools.exceptions import MissingExtraError, UnsupportedModelError
from caslie_tools.roles.availability import classify_failure, find_cause

# The reason of any other failed vote says what to do.
_ADVICE: Final[Mapping[JudgeFailure, str]] = {
    "unavailable": "check that their servers run",
    "timeout": "raise CASLIE_JUDGE_TIMEOUT_SECONDS, or reduce the load on their servers",
    "refused": "check their models and settings with `caslie endpoints check`",
    "error": "their votes name the errors",
}
_PERMANENT: Final[frozenset[JudgeFailure]] = frozenset({"missing_dependency", "unsupported"})


def failed_vote(judge: str, error: Exception) -> Vote:
    """Returns the abstention of a judge that raised an error.

    Args:
        judge: The judge's name.
        error: What it raised. The vote repeats only the type of the error, because the message of a client may contain
            an address or a key; but it repeats the whole message of a :class:`MissingExtraError` or an
            :class:`UnsupportedModelError`, which says what to do.
    """
    explained = find_cause(error, MissingExtraError) or find_cause(error, UnsupportedModelError)
    reason = f"failed: {type(error).__name__}" if explained is None else str(explained)
    return Vote(judge=judge, verdict="abstain", reason=reason, failure=classify_failure(error))


def describe_failures(votes: Iterable[Vote]) -> str:
    """Returns the failed judges and why each of them failed, as part of a sentence."""
    failures = dict.fromkeys((vote.judge, vote.failure) for vote in votes if vote.failure is not None)
    return ", ".join(f"{judge} ({failure.replace('_', ' ')})" for judge, failure in failures)


def failed_jury_warnings(decisions: Sequence[GateDecision]) -> list[str]:
    """Returns warnings about judges that could not run: what it means for the captions, and what to do.

    There is one if no judge could run for some captions, and one for each judge that cannot run at all, because its
    model lacks an ability or a dependency is missing. Any other failure of one judge is told by its vote only.
    """
    failed = [decision for decision in decisions if decision.jury_failed and decision.decided_by == "jury"]
    cannot_run = {
        vote.judge: vote.reason
        for decision in decisions
        if decision not in failed
        for vote in decision.votes
        if vote.failure in _PERMANENT
    }
    warnings = [f"captions were judged without the judge {judge}: {reason}" for judge, reason in cannot_run.items()]
    return [*warnings, *_no_judge_warnings(failed, len(decisions))]


def _no_judge_warnings(failed: Sequence[GateDecision], count: int) -> list[str]:
    if not failed:
        return []
    votes = [vote for decision in failed for vote in decision.votes]
    advice = dict.fromkeys(_ADVICE.get(vote.failure, vote.reason) for vote in votes if vote.failure is not None)
    return [
        f"no judge could run, so {len(failed)} of {count} captions were not used: "
        f"{describe_failures(votes)}; {'; '.join(advice)}"
    ]
