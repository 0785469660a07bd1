"""Made-up outcomes and runs, for tests of scores and reports."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from caslie_tools.domain import Vote
from caslie_tools.evaluation.outcomes import CaptionOutcome, Cost, Outcome, Treatment, TreatmentOutcome
from caslie_tools.tasks import get_task


def treated(gold: str, answer: str | None, *, fused: int = 0, **more: Any) -> TreatmentOutcome:
    """The outcome of one instance under one treatment."""
    return TreatmentOutcome(answer=answer, text=answer or "?", right=answer == gold, fused=fused, **more)


def outcome(
    index: int,
    gold: str,
    answers: Mapping[Treatment, str | None],
    *,
    task: str = "mpc",
    split: str = "test",
    votes: Sequence[Vote] = (),
    kept: bool = False,
    caption: str = "A red mug.",
    cost: Cost | None = None,
) -> Outcome:
    """An outcome with one image. ``every``, ``plain`` and ``given`` fuse its caption, and ``gated`` if it is kept."""
    captioned = CaptionOutcome(image=0, text=caption, kept=kept, votes=tuple(votes))
    return Outcome(
        index=index,
        key=f"key-{index}",
        task=get_task(task).name,
        split=split,
        gold=gold,
        treatments={
            name: treated(
                gold,
                answer,
                fused=int(kept if name == "gated" else name != "none"),
                captions=() if name == "none" else (captioned,),
                cost=cost or Cost(predictor_calls=1),
            )
            for name, answer in answers.items()
        },
    )


def judged(index: int, *, none: bool, every: bool, votes: Sequence[Vote] = (), kept: bool = False) -> Outcome:
    """An outcome given by the effect of its caption: whether the answer is right without it, and with it."""
    gold = "AB"[index % 2]
    right = {True: gold, False: "C"}
    answers: dict[Treatment, str | None] = {
        "none": right[none],
        "every": right[every],
        "gated": right[every if kept else none],
    }
    return outcome(index, gold, answers, votes=votes, kept=kept)


def write_run(folder: Path, outcomes: Iterable[Outcome], facts: Mapping[str, Any] | None = None) -> Path:
    """Writes the folder of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [one.model_dump_json() + "\n" for one in outcomes]
    (folder / "outcomes.jsonl").write_text("".join(lines), encoding="utf-8")
    if facts is not None:
        (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder
