"""How often do text-first thresholds break their guarantee? Calibrates them on made-up answers of which all is known.

``python benchmarks/text_first_simulation.py [--runs 1000]``

In every made-up run, an answer from text is lost less often the surer it is. A threshold that truly loses more than the
guarantee allows is an error. At 95% confidence, it may happen in at most 5% of the runs. Instances of one product
resemble each other, which makes errors more probable if they are counted one by one.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from machine import heading
from noise_simulation import NOMINAL, Shop

from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome, TreatmentOutcome
from caslie_tools.tuning.text_first import tune_text_first

MAX_LOSS = 0.1
SHOPS = (Shop(200, 1), Shop(40, 10), Shop(100, 5), Shop(100, 5, 0.7), Shop(100, 5, 0.5), Shop(400, 5, 0.5))
HEAD = (
    "products x instances",
    "guarantee broken",
    "broken if instances are counted one by one",
    "from text, median",
    "possible",
    "seconds",
)


def made_up_answers(shop: Shop, seed: int, *, name_products: bool = True) -> Iterator[Outcome]:
    """Yields outcomes in which the confidence of the answer from text is spread evenly from 0 to 1.

    The answer is lost with the probability 0.4 x (1 - confidence). See :func:`true_loss`.
    """
    draw = random.Random(f"text {shop.products} {shop.instances} {shop.correlation} {seed}")  # noqa: S311 (made-up)

    def trait() -> tuple[float, bool]:
        confidence = draw.random()
        return confidence, draw.random() < 0.4 * (1 - confidence)

    traits = [trait() for _ in range(shop.products)]
    caption = CaptionOutcome(image=0, text="A caption.", kept=True)
    gated = TreatmentOutcome(answer="A", right=True, fused=1, captions=(caption,))
    for index in range(shop.products * shop.instances):
        product = index % shop.products
        # Two instances that both have the product's trait are equal, so the correlation is the square of this share.
        confidence, lost = traits[product] if draw.random() < shop.correlation**0.5 else trait()
        answer = "B" if lost else "A"
        none = TreatmentOutcome(answer=answer, right=not lost, probabilities={answer: confidence})
        yield Outcome(
            index=index,
            key=str(index),
            task="category_classification",
            split="validation",
            gold="A",
            products=(f"p{product}",) if name_products else (),
            treatments={"none": none, "gated": gated},
        )


def true_loss(threshold: float) -> float:
    """Returns the share of answers that a threshold loses: the integral of 0.4 x (1 - confidence) from it to 1."""
    return 0.2 * (1 - threshold) ** 2


def calibrated_threshold(shop: Shop, seed: int, *, name_products: bool = True) -> float | None:
    """Returns the threshold that is calibrated on one made-up run."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        lines = (
            outcome.model_dump_json() + "\n" for outcome in made_up_answers(shop, seed, name_products=name_products)
        )
        (run / "outcomes.jsonl").write_text("".join(lines), encoding="utf-8")
        (run / "run.json").write_text(json.dumps({"predictor": "made-up"}), encoding="utf-8")
        (task,) = tune_text_first(run, max_loss=MAX_LOSS, confidence=1 - NOMINAL).tasks
    return task.threshold


def is_broken(threshold: float | None) -> bool:
    """Whether a threshold loses more than the guarantee allows."""
    return threshold is not None and true_loss(threshold) > MAX_LOSS


def main() -> None:
    """Prints one row for each shop: the rates of errors, and the share of instances that are answered from text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="made-up runs for each shop")
    runs = parser.parse_args().runs
    print(heading())
    print(f"\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for shop in SHOPS:
        started = time.monotonic()
        found = [calibrated_threshold(shop, seed) for seed in range(runs)]
        one_by_one = [calibrated_threshold(shop, seed, name_products=False) for seed in range(runs)]
        broken = [sum(map(is_broken, thresholds)) for thresholds in (found, one_by_one)]
        answered = statistics.median(0.0 if threshold is None else 1 - threshold for threshold in found)
        cells = [f"{count / runs:.1%} ({count} of {runs})" for count in broken]
        cells += [f"{answered:.2f}", f"{(MAX_LOSS / 0.2) ** 0.5:.2f}", f"{time.monotonic() - started:.0f}"]
        print(f"| {shop} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
