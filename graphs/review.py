"""The question to a person about close decisions, and the person's answer."""

from collections.abc import Iterable
from typing import Any

from caslie_tools.domain import GateDecision
from caslie_tools.pipeline.pipeline import ImageResult


def is_reviewed(result: ImageResult) -> bool:
    """Returns whether a person is asked about a caption: the jury's decision about it is close."""
    return result.caption is not None and result.decision is not None and result.decision.is_close


def review_request(results: Iterable[ImageResult]) -> dict[str, Any]:
    """Returns the value of the interrupt, as plain JSON values: the question, and each caption with its votes."""
    return {
        # Indexes are texts in the answer: LangGraph looks for its own ids among a mapping's keys and needs texts there.
        "question": 'The jury is divided. Do these captions help? Answer by index, as {"0": true, "2": false}.',
        "captions": [
            {
                "index": result.index,
                "product": result.image.product,
                "text": result.caption.text,
                "asked": result.caption.context.text,
                "votes": [vote.model_dump(mode="json") for vote in result.decision.votes],
            }
            for result in results
            if result.caption is not None and result.decision is not None
        ],
    }


def apply_answer(answer: Any, result: ImageResult) -> ImageResult:
    """Returns a result with the decision of a person.

    Args:
        answer: The value that the run was resumed with: ``{index: true or false}``. If it has another form or does not
            contain the result's index, the jury's decision stands.
        result: A result that the person was asked about.
    """
    decisions = answer if isinstance(answer, dict) else {}
    kept = decisions.get(result.index, decisions.get(str(result.index)))
    if not isinstance(kept, bool) or result.decision is None:
        return result
    update = {
        "kept": kept,
        "decided_by": "person",
        "reason": f"a person decided; the jury: {result.decision.reason}",
    }
    return result.model_copy(update={"decision": GateDecision.model_validate(result.decision.model_dump() | update)})
