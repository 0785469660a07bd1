"""How often are tuners and reports wrong? Runs them on made-up outcomes of which the truth is known.

``python benchmarks/noise_simulation.py [--runs 1000]``

In every made-up run, captions help and mislead with equal probability, and votes are random. Nothing can be learned,
and no treatment is better than another. A gate that is tuned is an error. So is a conclusion that finds a difference.
At 95% confidence, each may happen in at most 5% of the runs. Instances of one product resemble each other, which makes
errors more probable if they are counted one by one.

Text-first thresholds are calibrated on other made-up runs, in which an answer from text is lost less often the surer it
is. A threshold that truly loses more than its guarantee allows is an error, which at 95% confidence may happen in at
most 5% of the runs.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from machine import heading

from caslie_tools.domain import Vote
from caslie_tools.evaluation.conclusions import draw_conclusions
from caslie_tools.evaluation.groups import group_outcomes
from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome, Treatment, TreatmentOutcome
from caslie_tools.tuning.gate import tune_gate
from caslie_tools.tuning.text_first import tune_text_first

JUDGES = tuple(f"judge-{number}" for number in range(1, 6))
NOMINAL = 0.05


@dataclass(frozen=True)
class Shop:
    """How many products there are, and how much the instances of one product resemble each other."""

    products: int
    instances: int
    """Number of instances of each product."""
    correlation: float = 1.0
    """Correlation of two instances of one product, in everything. 1: they are identical."""
    pairs: bool = False
    """Whether each instance also shows a second product, at random. Its captions depend on one of the two."""

    def __str__(self) -> str:
        likeness = "identical" if self.correlation == 1 else f"correlation {self.correlation:g}"
        second = ", pairs" if self.pairs else ""
        return f"{self.products} x {self.instances}, {likeness}{second}"


SHOPS = (
    Shop(20, 5),
    Shop(10, 10),
    Shop(100, 2),
    Shop(40, 5, 0.5),
    Shop(40, 5, 0.7),
    Shop(20, 5, 0.5),
    Shop(20, 5, 0.7),
    Shop(60, 2, 0.7, pairs=True),
    Shop(200, 1),
)

MAX_LOSS = 0.1
"""The guarantee of the text-first thresholds."""
TEXT_SHOPS = (Shop(200, 1), Shop(40, 10), Shop(100, 5), Shop(100, 5, 0.7), Shop(100, 5, 0.5), Shop(400, 5, 0.5))


def noise(shop: Shop, seed: int) -> Iterator[Outcome]:
    """Yields the outcomes of one made-up run."""
    draw = random.Random(f"{shop} {seed}")  # noqa: S311 (made-up votes)
    traits = [_Trait.random(draw) for _ in range(shop.products)]
    for index in range(shop.products * shop.instances):
        products = [index % shop.products, *([draw.randrange(shop.products)] if shop.pairs else [])]
        # Two instances that both have the product's trait are equal, so the correlation is the square of this share.
        own = draw.random() < shop.correlation**0.5
        trait = traits[draw.choice(products)] if own else _Trait.random(draw)
        yield trait.outcome(index, tuple(f"p{product}" for product in products))


@dataclass(frozen=True)
class _Trait:
    """The votes on a caption, and its effect."""

    votes: tuple[Vote, ...]
    helps: bool

    @classmethod
    def random(cls, draw: random.Random) -> "_Trait":
        chances = {judge: draw.random() for judge in JUDGES}
        votes = tuple(
            Vote(judge=judge, verdict="yes" if chance >= 0.5 else "no", probability=chance)
            for judge, chance in chances.items()
        )
        return cls(votes, draw.random() < 0.5)

    def outcome(self, index: int, products: tuple[str, ...]) -> Outcome:
        kept = sum(vote.verdict == "yes" for vote in self.votes) > len(JUDGES) / 2
        right: dict[Treatment, bool] = {"none": not self.helps, "every": self.helps, "gated": self.helps == kept}
        captions = (CaptionOutcome(image=0, text="A caption.", kept=kept, votes=self.votes),)
        return Outcome(
            index=index,
            key=str(index),
            task="category_classification",
            split="validation",
            gold="AB"[index // 2 % 2],
            products=products,
            treatments={
                name: TreatmentOutcome(
                    answer="AB"[index // 2 % 2] if is_right else "C",
                    right=is_right,
                    fused=int(name == "every" or (name == "gated" and kept)),
                    captions=() if name == "none" else captions,
                )
                for name, is_right in right.items()
            },
        )


def accepts_gate(shop: Shop, seed: int) -> bool:
    """Whether a gate is tuned on one made-up run."""
    with _written(noise(shop, seed)) as run:
        return tune_gate(run).gate is not None


def confident_answers(shop: Shop, seed: int, *, name_products: bool = True) -> Iterator[Outcome]:
    """Yields outcomes in which the confidence of the answer from text is spread evenly from 0 to 1.

    The answer is lost with the probability 0.4 x (1 - confidence). See :func:`true_loss`.
    """
    draw = random.Random(f"text {shop} {seed}")  # noqa: S311 (made-up answers)

    def trait() -> tuple[float, bool]:
        confidence = draw.random()
        return confidence, draw.random() < 0.4 * (1 - confidence)

    traits = [trait() for _ in range(shop.products)]
    for index in range(shop.products * shop.instances):
        product = index % shop.products
        confidence, lost = traits[product] if draw.random() < shop.correlation**0.5 else trait()
        caption = CaptionOutcome(image=0, text="A caption.", kept=True)
        yield Outcome(
            index=index,
            key=str(index),
            task="category_classification",
            split="validation",
            gold="A",
            products=(f"p{product}",) if name_products else (),
            treatments={
                "none": TreatmentOutcome(
                    answer="B" if lost else "A",
                    right=not lost,
                    probabilities={"A": 1 - confidence, "B": confidence} if lost else {"A": confidence},
                ),
                "gated": TreatmentOutcome(answer="A", right=True, fused=1, captions=(caption,)),
            },
        )


def true_loss(threshold: float) -> float:
    """Returns the share of answers that a threshold loses: the integral of 0.4 x (1 - confidence) from it to 1."""
    return 0.2 * (1 - threshold) ** 2


def calibrated_threshold(shop: Shop, seed: int, *, name_products: bool = True) -> float | None:
    """Returns the text-first threshold that is calibrated on one made-up run."""
    with _written(confident_answers(shop, seed, name_products=name_products)) as run:
        (task,) = tune_text_first(run, max_loss=MAX_LOSS, confidence=1 - NOMINAL).tasks
    return task.threshold


@contextmanager
def _written(outcomes: Iterable[Outcome]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        lines = "".join(outcome.model_dump_json() + "\n" for outcome in outcomes)
        (Path(folder) / "outcomes.jsonl").write_text(lines, encoding="utf-8")
        (Path(folder) / "run.json").write_text(json.dumps({"predictor": "made-up"}), encoding="utf-8")
        yield Path(folder)


def conclusions_of(shop: Shop, seed: int) -> tuple[bool, bool]:
    """Whether the report on one made-up run finds that captions help or harm, and that the gate is better or worse."""
    (conclusion,) = draw_conclusions(group_outcomes(noise(shop, seed)))
    return "not shown to help" not in conclusion.captions, "no difference shown" not in conclusion.gate


def main() -> None:
    """Prints the rates of errors for each shop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="made-up runs for each shop")
    parser.add_argument("--only", choices=("noise", "text-first"), help="run only one part")
    arguments = parser.parse_args()
    print(heading())
    if arguments.only != "text-first":
        simulate_noise(arguments.runs)
    if arguments.only != "noise":
        simulate_text_first(arguments.runs)


def simulate_noise(runs: int) -> None:
    """Prints how often noise is taken for an effect."""
    head = ("products x instances", "gate tuned", "captions worth it or harmful", "gate better or worse", "seconds")
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for shop in SHOPS:
        started = time.monotonic()
        gates = sum(accepts_gate(shop, seed) for seed in range(runs))
        worth, gate = map(sum, zip(*(conclusions_of(shop, seed) for seed in range(runs)), strict=True))
        cells = [f"{found / runs:.1%} ({found} of {runs})" for found in (gates, worth, gate)]
        print(f"| {shop} | {' | '.join(cells)} | {time.monotonic() - started:.0f} |", flush=True)


def simulate_text_first(runs: int) -> None:
    """Prints how often text-first thresholds break their guarantee, and how many instances they answer from text."""
    head = (
        "products x instances",
        "guarantee broken",
        "broken if instances are counted one by one",
        "from text, median",
        "possible",
        "seconds",
    )
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    possible = (MAX_LOSS / 0.2) ** 0.5
    for shop in TEXT_SHOPS:
        started = time.monotonic()
        cells = []
        answered: list[float] = []
        for name_products in (True, False):
            found = [calibrated_threshold(shop, seed, name_products=name_products) for seed in range(runs)]
            broken = sum(threshold is not None and true_loss(threshold) > MAX_LOSS for threshold in found)
            cells.append(f"{broken / runs:.1%} ({broken} of {runs})")
            answered.append(statistics.median(0.0 if threshold is None else 1 - threshold for threshold in found))
        cells += [f"{answered[0]:.2f}", f"{possible:.2f}"]
        print(f"| {shop} | {' | '.join(cells)} | {time.monotonic() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
