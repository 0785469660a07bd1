"""Measures the time and the peak memory of a report of a large run. The outcomes are made up.

``python benchmarks/large_report.py [--outcomes 100000]``
"""

import argparse
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from machine import heading

from caslie_tools.domain import Vote
from caslie_tools.evaluation.outcomes import DEFAULT_TREATMENTS, CaptionOutcome, Cost, Outcome, TreatmentOutcome
from caslie_tools.evaluation.report import write_report
from caslie_tools.tasks.mmecinstruct import MMECINSTRUCT

CAPTION = "A caption of about forty words: " + "word " * 32


def made_up(index: int, draw: random.Random) -> Outcome:
    """Returns one outcome under the default treatments, with one caption and five votes."""
    task = MMECINSTRUCT[index % len(MMECINSTRUCT)]
    labels = task.fixed_labels or tuple("ABCDEFGHIJKLMNOPQRST")
    gold = draw.choice(labels)
    votes = tuple(
        Vote(judge=f"judge-{number}", verdict=draw.choice(["yes", "no"]), probability=round(draw.random(), 3))
        for number in range(5)
    )
    treatments = {}
    for name in DEFAULT_TREATMENTS:
        answer = gold if draw.random() < 0.6 else draw.choice(labels)
        captions = (
            CaptionOutcome(image=0, text=f"{CAPTION}{index}", kept=True, votes=votes if name == "gated" else ()),
        )
        treatments[name] = TreatmentOutcome(
            answer=answer,
            text=f"{answer}",
            right=answer == gold,
            probabilities={label: 1 / len(labels) for label in labels},
            fused=int(name != "none"),
            captions=() if name == "none" else captions,
            cost=Cost(predictor_calls=1, prompt_tokens=draw.randrange(1000), seconds=draw.random()),
        )
    return Outcome(
        index=index,
        key=f"{index:064x}",
        task=task.name,
        split="test",
        gold=gold,
        input="query: something that a shopper is looking for, and the title of a product " * 2,
        options=tuple(f"{label}: an option" for label in labels),
        images=(f"https://shop.example/{index}.jpg",),
        products=(f"p{draw.randrange(30_000)}",),
        treatments=treatments,
    )


def report(folder: Path) -> None:
    """Writes the report and prints what it took."""
    before = _peak()
    started = time.monotonic()
    write_report(folder)
    print(f"report: {time.monotonic() - started:.0f} s, peak memory {_peak():.0f} MiB ({before:.0f} MiB of it before)")


def _peak() -> float:
    """Returns the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    """Makes up a run, and writes its report in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outcomes", type=int, default=100_000)
    count = parser.parse_args().outcomes
    print(heading())
    draw = random.Random(0)  # noqa: S311 (made-up outcomes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "outcomes.jsonl").open("w", encoding="utf-8") as file:
            for index in range(count):
                file.write(made_up(index, draw).model_dump_json() + "\n")
        size = (folder / "outcomes.jsonl").stat().st_size
        print(f"{count:,} outcomes, {size / 2**20:.0f} MiB")
        process = multiprocessing.get_context("spawn").Process(target=report, args=(folder,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
