"""What do text-first thresholds save and lose on products that they were not calibrated on?

``python benchmarks/text_first.py RUN [--max-loss 0.05] [--confidence 0.9] [--splits 20]``

RUN is the folder of a run of ``caslie eval`` with the treatments ``none`` and ``gated``. The products of each task are
split into two random halves, several times. The threshold is calibrated on one half. The table shows the mean over the
splits of what it does on the other half.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from machine import heading

from caslie_tools.evaluation.clusters import connected_clusters, names_of
from caslie_tools.evaluation.outcomes import Outcome
from caslie_tools.evaluation.reading import iter_outcomes
from caslie_tools.exceptions import DataError
from caslie_tools.pipeline.text_first import confidence_of
from caslie_tools.tuning.text_first import tune_text_first

SEED = 11
HEAD = (
    "task",
    "instances",
    "products",
    "threshold, median",
    "from text",
    "captions saved",
    "votes saved",
    "lost, mean (largest)",
    "gained",
)


def calibrate(outcomes: Sequence[Outcome], *, max_loss: float, confidence: float) -> float:
    """Returns the threshold of one task. Above 1 if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        lines = (outcome.model_dump_json() + "\n" for outcome in outcomes)
        (run / "outcomes.jsonl").write_text("".join(lines), encoding="utf-8")
        (run / "run.json").write_text(json.dumps({"predictor": "of the run"}), encoding="utf-8")
        (task,) = tune_text_first(run, max_loss=max_loss, confidence=confidence).tasks
    return 2.0 if task.threshold is None else task.threshold


def measure(outcomes: Sequence[Outcome], threshold: float) -> list[float]:
    """Returns the shares from text, of captions and votes saved, and of answers lost and gained."""
    rows = []
    for outcome in outcomes:
        none, gated = outcome.treatments["none"], outcome.treatments["gated"]
        enough = confidence_of(none.answer, none.probabilities or {}) >= threshold
        captions = gated.cost.captioner_calls + gated.cost.cached_captions
        lost, gained = gated.right and not none.right, none.right and not gated.right
        rows.append([enough, captions * enough, captions, gated.cost.judge_calls * enough, gated.cost.judge_calls])
        rows[-1] += [lost and enough, gained and enough]
    text, saved_captions, captions, saved_votes, votes, lost, gained = np.array(rows, dtype=float).sum(axis=0)
    count = len(outcomes)
    return [text / count, saved_captions / captions, saved_votes / votes, lost / count, gained / count]


def main() -> None:
    """Prints one row for each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--max-loss", type=float, default=0.05)
    parser.add_argument("--confidence", type=float, default=0.9)
    parser.add_argument("--splits", type=int, default=20)
    arguments = parser.parse_args()
    by_task: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in iter_outcomes(arguments.run):
        if outcome.treatments["none"].probabilities:
            by_task[outcome.task].append(outcome)
    print(heading())
    print(f"\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    draw = np.random.default_rng(SEED)
    for task, outcomes in by_task.items():
        clusters = connected_clusters([names_of(outcome) for outcome in outcomes])
        count = int(clusters.max()) + 1
        thresholds, shares = [], []
        for _ in range(arguments.splits):
            chosen = np.isin(clusters, draw.permutation(count)[: count // 2])
            halves = [
                [one for one, first in zip(outcomes, chosen, strict=True) if bool(first) is part]
                for part in (True, False)
            ]
            try:
                threshold = calibrate(halves[0], max_loss=arguments.max_loss, confidence=arguments.confidence)
            except DataError as error:
                parser.error(str(error))
            thresholds.append(threshold)
            shares.append(measure(halves[1], threshold))
        text, captions, votes, lost, gained = np.mean(shares, axis=0)
        middle = float(np.median(thresholds))
        cells = [task, str(len(outcomes)), str(count), "none" if middle > 1 else f"{middle:.3f}"]
        cells += [f"{share:.0%}" for share in (text, captions, votes)]
        cells += [f"{lost:.1%} ({np.max(shares, axis=0)[3]:.1%})", f"{gained:.1%}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
