"""Runs of an evaluation with made-up confidences of the answers from text alone."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from caslie_tools.evaluation.outcomes import CaptionOutcome, Cost, Outcome
from tests.evaluation.made_up_runs import treated, write_run

TASK = "multiclass_product_classification"


def answered(
    index: int,
    *,
    confidence: float | None,
    lost: bool,
    gained: bool = False,
    products: Sequence[str] | None = None,
    task: str = TASK,
    caption: str = "A red mug.",
    error: str = "",
) -> Outcome:
    """An outcome whose answer is right both ways, unless it is lost or gained without captions."""
    none, gated = "B" if lost else "A", "B" if gained else "A"
    probabilities = None if confidence is None else {none: confidence, "C": 1 - confidence}
    captions = (CaptionOutcome(image=0, text=caption, kept=bool(caption)),)
    cost = Cost(captioner_calls=index % 2, cached_captions=1 - index % 2, judge_calls=3, predictor_calls=1)
    return Outcome(
        index=index,
        key=f"key-{index}",
        task=task,
        split="validation",
        gold="A",
        products=(f"p{index}",) if products is None else tuple(products),
        treatments={
            "none": treated("A", none, probabilities=probabilities),
            "gated": treated("A", gated, fused=1, captions=captions, cost=cost, error=error),
        },
    )


def text_first_run(folder: Path, outcomes: Iterable[Outcome]) -> Path:
    """Writes the folder of a run."""
    return write_run(folder, outcomes, {"data": "made-up.json", "profile": "light", "predictor": "made-up"})
