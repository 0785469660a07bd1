"""How often is noise taken for an effect? Runs the gate tuner and the conclusions of reports on made-up outcomes.

``python benchmarks/noise_simulation.py [--runs 1000]``

In every made-up run, captions help and mislead with equal probability, and votes are random. Nothing can be learned,
and no treatment is better than another. A gate that is tuned is an error. So is a conclusion that finds a difference.
At 95% confidence, each may happen in at most 5% of the runs. Instances of one product resemble each other, which makes
errors more probable if they are counted one by one.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import heading

from caslie_tools.domain import Vote
from caslie_tools.evaluation.conclusions import draw_conclusions
from caslie_tools.evaluation.groups import group_outcomes
from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome, Treatment, TreatmentOutcome
from caslie_tools.tuning.gate import tune_gate

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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.jsonl"
        path.write_text("".join(outcome.model_dump_json() + "\n" for outcome in noise(shop, seed)), encoding="utf-8")
        return tune_gate(Path(folder)).gate is not None


def conclusions_of(shop: Shop, seed: int) -> tuple[bool, bool]:
    """Whether the report on one made-up run finds that captions help or harm, and that the gate is better or worse."""
    (conclusion,) = draw_conclusions(group_outcomes(noise(shop, seed)))
    return "not shown to help" not in conclusion.captions, "no difference shown" not in conclusion.gate


def main() -> None:
    """Prints the rate of errors for each shop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="made-up runs for each shop")
    runs = parser.parse_args().runs
    print(heading())
    head = ("products x instances", "gate tuned", "captions worth it or harmful", "gate better or worse", "seconds")
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for shop in SHOPS:
        started = time.monotonic()
        gates = sum(accepts_gate(shop, seed) for seed in range(runs))
        worth, gate = map(sum, zip(*(conclusions_of(shop, seed) for seed in range(runs)), strict=True))
        cells = [f"{found / runs:.1%} ({found} of {runs})" for found in (gates, worth, gate)]
        print(f"| {shop} | {' | '.join(cells)} | {time.monotonic() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
