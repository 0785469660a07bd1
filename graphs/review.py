"""The question to a person about close decisions, and the person's answer."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from caslie_tools.domain import GateDecision
from caslie_tools.exceptions import InputError
from caslie_tools.pipeline.pipeline import ImageResult

_YES: Final = frozenset({"yes", "y", "true", "keep"})
_NO: Final = frozenset({"no", "n", "false", "reject"})


def is_reviewed(result: ImageResult) -> bool:
    """Returns whether a person is asked about a caption: the jury's decision about it is close."""
    return result.caption is not None and result.decision is not None and result.decision.is_close


def review_request(results: Sequence[ImageResult], problem: str = "") -> dict[str, Any]:
    """Returns the value of the interrupt, as plain JSON values.

    It has the ``question``, the ``captions`` with their votes and, if an earlier answer was not understood, the
    ``problem`` with that answer.

    Args:
        results: The results that the person is asked about.
        problem: Why the earlier answer was not understood.
    """
    captions = [
        {
            "index": result.index,
            "product": result.image.product,
            "text": result.caption.text,
            "asked": result.caption.context.text,
            "votes": [vote.model_dump(mode="json") for vote in result.decision.votes],
        }
        for result in results
        if result.caption is not None and result.decision is not None
    ]
    # Indexes are texts in the answer: LangGraph looks for its own ids among a mapping's keys and needs texts there.
    question = 'The jury is divided. Do these captions help? Answer yes or no, or by index: {"0": "yes", "2": "no"}.'
    return {"question": question, "captions": captions} | ({"problem": problem} if problem else {})


def parse_answer(answer: object, indexes: Sequence[int]) -> dict[int, bool]:
    """Returns a person's decisions by index. A caption that is left out has no decision.

    Args:
        answer: The value that the run was resumed with: yes or no for all captions, or a mapping from index to yes or
            no. ``true``, ``"yes"`` and ``"keep"`` mean yes; ``false``, ``"no"`` and ``"reject"`` mean no.
        indexes: The indexes of the captions that the person was asked about.

    Raises:
        InputError: If the answer is none of these, or names a caption that the person was not asked about.
    """
    known = {str(index): index for index in indexes}
    if not isinstance(answer, Mapping):
        return dict.fromkeys(indexes, _decision(answer))
    if unknown := [str(key) for key in answer if str(key).strip() not in known]:
        raise InputError(f"there is no caption {_list(unknown)} to decide about; the captions are {_list([*known])}")
    return {known[str(key).strip()]: _decision(value) for key, value in answer.items()}


def with_decision(result: ImageResult, kept: bool) -> ImageResult:
    """Returns a result with a person's decision in place of the jury's."""
    assert result.decision is not None  # noqa: S101 (the person was shown its votes; for the type checker)
    update = {
        "kept": kept,
        "decided_by": "person",
        "reason": f"a person decided; the jury: {result.decision.reason}",
    }
    return result.model_copy(update={"decision": GateDecision.model_validate(result.decision.model_dump() | update)})


def _decision(answer: object) -> bool:
    if isinstance(answer, bool):
        return answer
    word = answer.strip().lower() if isinstance(answer, str) else ""
    if word in _YES | _NO:
        return word in _YES
    # The answer itself may hold anything: it is not repeated.
    raise InputError('the answer is neither yes nor no; answer "yes", "no", or by index, as {"0": "yes"}')


def _list(indexes: Sequence[str]) -> str:
    return ", ".join(index[:20] for index in indexes[:10])
