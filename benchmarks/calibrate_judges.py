"""Calibrates the thresholds of the embedded judges with outcomes with and without captions.

``python benchmarks/calibrate_judges.py DATA``

A caption helps if the predictor is correct with it and not correct without it. There are two sources of captions:

- questions about the sample catalogue with known answers, for each image of the products in question;
- shelf photos of the calibration half of DATA (see ``grocery.py``) in category_classification without a title, with
  the packshots indexed.

For each judge, the script prints the threshold with the best balanced accuracy over both sources at equal weight, and
the precision and recall at the current threshold. It then prints the precision and recall of the jury. The questions
were available when question answering and the judges were written, so the rates on the sample catalogue are a fit and
not a test. The current thresholds are in ``caslie_tools/backends/embedded/judges.py``.
"""

import argparse
import asyncio
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from grocery import Bench, name

from caslie_tools.backends.embedded.captioner import EmbeddedCaptioner
from caslie_tools.backends.embedded.judges import EmbeddedJudge, embedded_jury
from caslie_tools.backends.embedded.option_scoring import OptionScorer, ProductEvidence
from caslie_tools.backends.embedded.predictor import EmbeddedPredictor
from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.domain import Caption, Product
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.pipeline.ec3 import EC3
from caslie_tools.pipeline.unim3 import UniM3
from caslie_tools.roles.interfaces import CaptionRequest, JudgeRequest
from caslie_tools.sample import catalogue_path
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import PRODUCT_QA, product_question
from caslie_tools.tasks.fusion import fuse


@dataclass(frozen=True)
class Question:
    """A question about the sample catalogue with its answer."""

    text: str
    products: tuple[str, ...]
    """Ids of the products in question. Several ids for a question that selects a product."""
    answer: str
    """Text in a correct answer. Empty if the catalogue has no answer: then no caption helps."""


BOTTLES = ("kelp-bottle", "reed-bottle", "summit-flask", "pebble-bottle")
LIGHTS = ("trail-headlamp", "ridge-headlamp", "commuter-front-light", "commuter-rear-light", "camp-lantern")
CHARGERS = ("voltis-desk-charger", "voltis-travel-charger", "voltis-power-bank", "voltis-cable")
QUESTIONS = (
    Question("Is the Trail headlamp waterproof?", ("trail-headlamp",), "IP67"),
    Question("How bright is the Trail headlamp?", ("trail-headlamp",), "400"),
    Question("Is the Ridge headlamp splashproof?", ("ridge-headlamp",), "IPX4"),
    Question("How many lumens has the Camp lantern?", ("camp-lantern",), "1000"),
    Question("What protection class does the Commuter front light have?", ("commuter-front-light",), "IP65"),
    Question("How bright is the Commuter rear light?", ("commuter-rear-light",), ""),
    Question("Which light has a brightness of 1000 lumen?", LIGHTS, "1000"),
    Question("Which bottle holds 500 ml?", BOTTLES, "500 ml"),
    Question("Which bottle holds 750 ml?", BOTTLES, "750 ml"),
    Question("How much does the Kelp drinking bottle hold?", ("kelp-bottle",), "750 ml"),
    Question("What is the volume of the Reed drinking bottle?", ("reed-bottle",), "500 ml"),
    Question("What is the capacity of the Summit vacuum flask?", ("summit-flask",), "750 ml"),
    Question("How much does the Pebble kids' bottle hold?", ("pebble-bottle",), "350 ml"),
    Question("What colour is the Kelp drinking bottle?", ("kelp-bottle",), "green"),
    Question("What colour is the Fjord rain jacket?", ("fjord-jacket",), "red"),
    Question("What colour is the Wool beanie?", ("wool-beanie",), "navy"),
    Question("What colour are the Aria studio headphones?", ("studio-headphones",), ""),
    Question("How does the Fjord rain jacket fit?", ("fjord-jacket",), "SLIM"),
    Question("Is the Tarn rain jacket slim or loose?", ("tarn-jacket",), "LOOSE"),
    Question("At what temperature do I wash the Tarn rain jacket?", ("tarn-jacket",), "30 °C"),
    Question("How do I wash the Merino base layer?", ("merino-shirt",), "20 °C"),
    Question("How do I wash the Brook raincoat?", ("brook-raincoat",), "40 °C"),
    Question("What fit has the Merino base layer?", ("merino-shirt",), "REGULAR"),
    Question("How long does the battery of the Aria wireless headphones last?", ("aria-headphones",), "40 h"),
    Question("Are the Aria sport earphones sweatproof?", ("aria-earphones",), "IPX5"),
    Question("What is the impedance of the Aria studio headphones?", ("studio-headphones",), ""),
    Question("How many watts does the Voltis desk charger have?", ("voltis-desk-charger",), "65 W"),
    Question("Which plug does the Voltis travel charger have?", ("voltis-travel-charger",), "USB-A"),
    Question("Which charger has 20 W?", CHARGERS, "20 W"),
    Question("What is the capacity of the Voltis power bank?", ("voltis-power-bank",), "10000"),
    Question("What colour is the Voltis charging cable?", ("voltis-cable",), ""),
    Question("How long is the Voltis charging cable?", ("voltis-cable",), "1.5 m"),
    Question("Can the Ember enamel mug go into the dishwasher?", ("ember-mug",), "DISHWASHER"),
    Question("How much water does the Brisk electric kettle hold?", ("brisk-kettle",), "1.7"),
    Question("How many watts has the Brisk electric kettle?", ("brisk-kettle",), "2200"),
    Question("Does the Forge frying pan work on induction?", ("forge-pan",), "INDUCTION"),
    Question("What is the diameter of the Forge frying pan?", ("forge-pan",), "28 cm"),
    Question("Is the Meadow oat drink vegan?", ("meadow-oat-drink",), "VEGAN"),
    Question("Does the Meadow oat drink Barista have added sugar?", ("meadow-barista",), "NO ADDED"),
    Question("Where does the Orchard apple juice come from?", ("orchard-juice",), "AUSTRIA"),
    Question("Is the Hillside rooibos caffeine free?", ("hillside-rooibos",), "CAFFEINE"),
    Question("How many bags are in the Hillside rooibos?", ("hillside-rooibos",), "20"),
    Question("Where is the Hillside black tea from?", ("hillside-black-tea",), "KENYA"),
    Question("Where are the Morrow espresso beans from?", ("morrow-coffee",), "Guatemala"),
    Question("Is the Morrow espresso organic?", ("morrow-coffee",), ""),
    Question("How many litres does the Fern watering can hold?", ("fern-watering-can",), "9"),
    Question("How long is the Fern garden hose?", ("fern-hose",), "20 m"),
    Question("What is the warranty of the Orchard apple juice?", ("orchard-juice",), ""),
    Question("How thick are the twigs the Fern pruning shears can cut?", ("fern-shears",), "20 mm"),
    Question("What colour is the handle of the Fern pruning shears?", ("fern-shears",), ""),
)


@dataclass(frozen=True)
class Case:
    """A caption in its context, with the label whether it helps."""

    source: str
    request: JudgeRequest
    helps: bool
    label: str


async def sample_cases(bench: Bench) -> list[Case]:
    """Returns the cases of the sample catalogue, one per question and image."""
    folder = catalogue_path().parent
    products = {row.id: row for row in read_products()}
    loader = ImageLoader()
    unim3 = UniM3(EmbeddedPredictor(bench.embeddings))
    cases, wrong = [], []
    with tempfile.TemporaryDirectory() as directory:
        store = CaptionStore.open(directory, bench.embeddings, image_embeddings=bench.pictures)
        store.put_products([(row, [loader.load_sync(ref) for ref in row.images]) for row in products.values()])
        ec3 = EC3([EmbeddedCaptioner(bench.analyser, bench.embeddings, store)])
        for question in QUESTIONS:
            instance = PRODUCT_QA.check(product_question(question.text, [products[id_] for id_ in question.products]))
            without = await unim3.ainvoke(fuse(PRODUCT_QA, instance, [None] * len(instance.images)))
            captions: list[Caption | None] = []
            for placed in instance.images:
                assert placed.ref is not None
                context = PRODUCT_QA.places(instance)[placed.place].context
                image = loader.load_sync(placed.ref)
                captions.append(await ec3.ainvoke(CaptionRequest(image=image, context=context, product=placed.product)))
            everything = await unim3.ainvoke(fuse(PRODUCT_QA, instance, captions))
            if right(everything.text, bool(everything.answerable), question) is False:
                wrong.append(f"{question.text} -> {everything.text}")
            for index, caption in enumerate(captions):
                if caption is None:
                    continue
                alone = [caption if other == index else None for other in range(len(captions))]
                answer = await unim3.ainvoke(fuse(PRODUCT_QA, instance, alone))
                helps = (
                    bool(question.answer)
                    and right(answer.text, bool(answer.answerable), question)
                    and not right(without.text, bool(without.answerable), question)
                )
                request = JudgeRequest(context=caption.context, caption=caption.text, evidence=caption.evidence)
                ref = instance.images[index].ref
                cases.append(Case("sample", request, helps, f"{question.text} [{ref.label if ref else ''}]"))
    print(
        f"sample catalogue in {folder.name}: {len(QUESTIONS) - len(wrong)} of {len(QUESTIONS)} questions correct with"
    )
    print("every caption;", "wrong: " + "; ".join(wrong) if wrong else "none wrong")
    return cases


def read_products() -> list[Product]:
    """Reads the sample catalogue."""
    return [row for row in read_catalogue(catalogue_path()) if isinstance(row, Product)]


def right(answer: str, answerable: bool, question: Question) -> bool:
    """Whether an answer contains the expected text, or is unanswerable if no answer is expected."""
    if not question.answer:
        return not answerable
    return answerable and re.sub(r"\s", "", question.answer).casefold() in re.sub(r"\s", "", answer).casefold()


async def photo_cases(bench: Bench) -> list[Case]:
    """Returns the cases of the shelf photos.

    Without a caption the category can only be guessed, so a correct answer is due to the caption.
    """
    store = bench.store(packshots=True)
    scorer = OptionScorer(bench.embeddings)
    cases = []
    for photo, sets in zip(bench.calibration, bench.option_sets(bench.calibration), strict=True):
        caption = await bench.caption(photo, store)
        if caption is None:
            continue
        hits = []
        for wrong in sets:
            options = [name(group) for group in (photo.product.category, *wrong)]
            hits.append(
                int(np.argmax(scorer.probabilities(ProductEvidence.from_captions("", [caption]), options))) == 0
            )
        request = JudgeRequest(context=caption.context, caption=caption.text, evidence=caption.evidence)
        cases.append(Case("photos", request, float(np.mean(hits)) > 0.5, photo.product.id))
    return cases


def best_threshold(values: Sequence[float], helps: Sequence[bool], weights: Sequence[float]) -> float:
    """Returns the threshold with the best balanced accuracy of weighted cases."""
    value, truth, weight = np.array(values), np.array(helps), np.array(weights)
    found = np.unique(value)
    steps: list[float] = [*((found[1:] + found[:-1]) / 2).tolist(), float(found[0]) - 0.01]

    def accuracy(threshold: float) -> float:
        yes = value >= threshold
        caught = (weight * (yes & truth)).sum() / max((weight * truth).sum(), 1e-9)
        spared = (weight * (~yes & ~truth)).sum() / max((weight * ~truth).sum(), 1e-9)
        return float(caught + spared) / 2

    return max(steps, key=accuracy)


def rates(yes: Sequence[bool], helps: Sequence[bool]) -> str:
    """Returns precision, recall and the number of cases as text."""
    both = sum(a and b for a, b in zip(yes, helps, strict=True))
    return (
        f"precision {both / max(sum(yes), 1):.2f} ({both}/{sum(yes)}), recall {both / max(sum(helps), 1):.2f} "
        f"({both}/{sum(helps)}), n {len(helps)}"
    )


async def run(bench: Bench, verbose: bool) -> None:
    """Prints the thresholds and rates."""
    cases = await sample_cases(bench) + await photo_cases(bench)
    share = {source: sum(case.source == source for case in cases) for source in ("sample", "photos")}
    jury = embedded_jury(bench.embeddings)
    for judge in jury:
        assert isinstance(judge, EmbeddedJudge)
        measured = [(case, value) for case in cases if (value := judge.measure(case.request)) is not None]
        threshold = best_threshold(
            [value for _, value in measured],
            [case.helps for case, _ in measured],
            [1 / share[case.source] for case, _ in measured],
        )
        print(f"\n{judge.name}: best threshold {threshold:.3f}, current {judge.threshold}")
        for source in share:
            values = [(case, value) for case, value in measured if case.source == source]
            if values:
                yes = [value >= judge.threshold for _, value in values]
                print(f"  {source}: {rates(yes, [case.helps for case, _ in values])}")
    cqe = CQE(jury, early_stop=False)
    decisions = [await cqe.ainvoke(case.request) for case in cases]
    print("\nthe jury")
    for source in share:
        own = [index for index, case in enumerate(cases) if case.source == source]
        print(f"  {source}: {rates([decisions[i].kept for i in own], [cases[i].helps for i in own])}")
    for case, decision in zip(cases, decisions, strict=True):
        if case.source == "sample" and (verbose or decision.kept != case.helps):
            votes = ", ".join(f"{vote.judge.removeprefix('embedded-')} {vote.verdict}" for vote in decision.votes)
            print(f"  {'kept' if decision.kept else 'rejected'}, {'helps' if case.helps else 'does not help'}:")
            print(f"    {case.label}: {case.request.caption} ({votes})")


def main() -> None:
    """Parses the command line and runs the calibration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with products.csv and photos.csv")
    parser.add_argument(
        "--cache", type=Path, default=Path(".caslie/grocery"), help="folder that caches image analyses between runs"
    )
    parser.add_argument("--verbose", action="store_true", help="print all captions of the sample catalogue")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(Bench(arguments.data, arguments.cache), arguments.verbose))


if __name__ == "__main__":
    main()
