"""How often is noise taken for an effect? Runs the gate tuner and the conclusions of reports on made-up outcomes.

``python benchmarks/noise_simulation.py [--runs 1000]``

In every made-up run, captions help and mislead with equal probability, or change nothing. The votes, their
probabilities, the numbers behind a vote and the numbers about a caption are random. Nothing can be learned, and no
treatment is better than another. A gate that is tuned, of whatever kind, is an error. So is a conclusion that finds a
difference. At 95% confidence, each may happen in at most 5% of the runs. Instances of one product resemble each other,
which makes errors more probable if they are counted one by one.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from machine import heading

from caslie_tools.domain import Vote
from caslie_tools.evaluation.conclusions import draw_conclusions
from caslie_tools.evaluation.groups import group_outcomes
from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome, Treatment, TreatmentOutcome
from caslie_tools.pipeline.learned_gate import KNOWN_WORDS
from caslie_tools.roles.utility import SIGNALS
from caslie_tools.tuning.gate import tune_gate
from caslie_tools.tuning.gate_kinds import GateKind

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
    decisive: float = 0.8
    """Share of captions that help or mislead. The others are redundant or ineffective."""

    def __str__(self) -> str:
        likeness = "identical" if self.correlation == 1 else f"correlation {self.correlation:g}"
        second = ", pairs" if self.pairs else ""
        decisive = ", all decisive" if self.decisive == 1 else ""
        return f"{self.products} x {self.instances}, {likeness}{second}{decisive}"


SHOPS = (
    Shop(20, 5),
    Shop(10, 10, decisive=1),  # with fewer decisive captions, 10 products are too few to tune a gate
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
    traits = [_Trait.random(draw, shop.decisive) for _ in range(shop.products)]
    for index in range(shop.products * shop.instances):
        products = [index % shop.products, *([draw.randrange(shop.products)] if shop.pairs else [])]
        # Two instances that both have the product's trait are equal, so the correlation is the square of this share.
        own = draw.random() < shop.correlation**0.5
        trait = traits[draw.choice(products)] if own else _Trait.random(draw, shop.decisive)
        yield trait.outcome(index, tuple(f"p{product}" for product in products))


@dataclass(frozen=True)
class _Trait:
    """The votes on a caption, numbers about it, and whether the answer is right without it and with it."""

    votes: tuple[Vote, ...]
    signals: Mapping[str, float]
    without: bool
    with_caption: bool

    @classmethod
    def random(cls, draw: random.Random, decisive: float) -> "_Trait":
        chances = {judge: draw.random() for judge in JUDGES}
        votes = tuple(
            Vote(
                judge=judge,
                verdict="yes" if chance >= 0.5 else "no",
                probability=chance,
                signals={name: draw.uniform(-1, 1) for name in SIGNALS} if judge == JUDGES[0] else {},
            )
            for judge, chance in chances.items()
        )
        signals = {KNOWN_WORDS: draw.random(), "text": draw.random() * (draw.random() < 0.3)}
        with_caption = draw.random() < 0.5
        return cls(votes, signals, with_caption != (draw.random() < decisive), with_caption)

    def outcome(self, index: int, products: tuple[str, ...]) -> Outcome:
        kept = sum(vote.verdict == "yes" for vote in self.votes) > len(JUDGES) / 2
        right: dict[Treatment, bool] = {
            "none": self.without,
            "every": self.with_caption,
            "gated": self.with_caption if kept else self.without,
        }
        captions = (
            CaptionOutcome(image=0, text="A caption.", kept=kept, votes=self.votes, signals=dict(self.signals)),
        )
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


def accepted_gate(shop: Shop, seed: int) -> GateKind | None:
    """Returns the kind of gate that is tuned on one made-up run, if one is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.jsonl"
        path.write_text("".join(outcome.model_dump_json() + "\n" for outcome in noise(shop, seed)), encoding="utf-8")
        (task,) = tune_gate(Path(folder)).tasks
        return task.kind if task.better else None


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
    head = (
        "products x instances",
        "gate tuned",
        "of it learned",
        "captions worth it or harmful",
        "gate better or worse",
        "seconds",
    )
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for shop in SHOPS:
        started = time.monotonic()
        gates = [kind for seed in range(runs) if (kind := accepted_gate(shop, seed)) is not None]
        worth, gate = map(sum, zip(*(conclusions_of(shop, seed) for seed in range(runs)), strict=True))
        cells = [
            f"{found / runs:.1%} ({found} of {runs})" for found in (len(gates), gates.count("learned"), worth, gate)
        ]
        print(f"| {shop} | {' | '.join(cells)} | {time.monotonic() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
