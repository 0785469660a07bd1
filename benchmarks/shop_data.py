"""Generates instruction data from real photographs by the rules in ``shop_rules.py``.

``python benchmarks/shop_data.py DATA [OUT] [--store STORE]``

DATA is a folder with products.csv, photos.csv and photos. The evaluation and the tuning in ``README.md`` use the
generated data. OUT/sources keeps the generated logs, and links to the images.
"""

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import shop_rules
from shop_rules import AISLES, SEED, Item, facts, printed_question, queries

from caslie_tools.caslie import Caslie
from caslie_tools.catalogue.format import ReadingOptions
from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.data.building import BuildOptions, BuildReport, build_dataset
from caslie_tools.data.building.seeded_random import hash_fraction, seeded_random, seeded_shuffle
from caslie_tools.domain import Product
from caslie_tools.sample import catalogue_path
from caslie_tools.sample.draw import DRAWINGS

SHOPPERS = 500
PURCHASES = 14
LOYALTY = 0.8
OPTIONS = BuildOptions(
    tasks=("cc", "mpc", "psi", "sr", "ap", "product_qa"),
    seed=SEED,
    proportions=(0.6, 0.2, 0.2),
    options=10,
    withhold_title=True,
    pictures="any",
)

Rows: TypeAlias = Iterable[Mapping[str, object]]


def read_items(data: Path) -> list[Item]:
    """Reads the groceries with their shelf photos, and the sample catalogue."""
    with (data / "photos.csv").open(encoding="utf-8", newline="") as file:
        photos = defaultdict(list)
        for row in csv.DictReader(file):
            photos[row["id"]].append(row["image"])
    groceries = [product for product in read_catalogue(data / "products.csv") if isinstance(product, Product)]
    sample = [product for product in read_catalogue(catalogue_path()) if isinstance(product, Product)]
    printed_in = {drawing.file: drawing.facts for drawing in DRAWINGS}
    items = [Item(product=product, pictures=tuple(photos[product.id])) for product in groceries]
    for product in sample:
        names = [image.label for image in product.images]
        printed = tuple(fact for name in names for fact in printed_in[name])
        items.append(Item(product=product, pictures=tuple(f"sample/{name}" for name in names), printed=printed))
    return items


def catalogue_rows(items: Iterable[Item]) -> Iterator[dict[str, object]]:
    """Yields the catalogue, without the fields that the rules leave out."""
    for item in items:
        row: dict[str, object] = {"id": item.id, "category": item.product.category, "image": "|".join(item.pictures)}
        if item.tier == "full":
            row |= {name: item.product.fields.get(name, "") for name in ("title", "brand", "description")}
            row |= item.product.attributes
        elif item.tier == "short":
            row["title"] = item.kind
        yield row


def search_rows(items: Sequence[Item]) -> Iterator[dict[str, object]]:
    """Yields judged searches: for each product, a fixed number of queries per judgement."""
    wanted = {"exact": 2, "substitute": 2, "complement": 1, "irrelevant": 1}
    by_text = {query.text: query for item in items for query in queries(item)}
    for item in items:
        remaining = Counter(wanted)
        for text in seeded_shuffle(sorted(by_text), SEED, "search", item.id):
            judgement = by_text[text].judge(item)
            if judgement is not None and remaining[judgement] > 0:
                remaining[judgement] -= 1
                yield {"query": text, "product": item.id, "judgement": judgement}


def event_rows(items: Sequence[Item]) -> Iterator[dict[str, object]]:
    """Yields the purchases of all shoppers, one purchase per day."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for shopper in range(SHOPPERS):
        random = seeded_random(SEED, "shopper", shopper)
        aisle = AISLES[random.choice(sorted(AISLES))]
        own = [item.id for item in items if item.kind in aisle]
        others = [item.id for item in items if item.kind not in aisle]
        for day in range(PURCHASES):
            bought = random.choice(own if random.random() < LOYALTY else others)
            time = (start + timedelta(days=day)).isoformat()
            yield {"user": f"shopper-{shopper}", "product": bought, "time": time, "event": "purchase"}


def question_and_review_rows(items: Sequence[Item]) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Returns the questions and the reviews. The reviews contain one fact in three."""
    questions: list[dict[str, object]] = []
    reviews: list[dict[str, object]] = []
    printed = sorted({question for item in items for fact in item.printed if (question := printed_question(fact))})
    for item in items:
        texts = seeded_random(SEED, "reviews", item.id).sample(
            ["Arrived quickly.", "Would buy it again.", "Good value.", "A gift for my sister.", "Not what I expected."],
            2,
        )
        for fact in facts(item, printed):
            reviewed = bool(fact.answer) and hash_fraction(SEED, "told", item.id, fact.question) < 1 / 3
            if reviewed:
                texts.append(f"Somebody asked: {fact.question} I can tell: {fact.answer}.")
            answerable = True if reviewed else fact.pictured
            answered = bool(fact.answer) and (
                (fact.field and item.tier == "full") or bool(fact.pictured) or fact.guessable
            )
            if answerable is not None or answered:
                label = "" if answerable is None else "yes" if answerable else "no"
                answer = fact.answer if answered else ""
                questions.append({"product": item.id, "question": fact.question, "answer": answer, "answerable": label})
        reviews += [{"product": item.id, "text": text, "stars": 3} for text in texts]
    return questions, reviews


def build(data: Path, out: Path, caslie: Caslie | None = None) -> BuildReport:
    """Writes the logs by the rules and builds the data from them.

    Args:
        data: Folder with products.csv, photos.csv and photos.
        out: Folder for the data.
        caslie: If given, the data include its captions and votes.
    """
    sources = out / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    for name, target in (("photos", data / "photos"), ("sample", catalogue_path().with_name("images"))):
        (sources / name).unlink(missing_ok=True)
        (sources / name).symlink_to(target.resolve(), target_is_directory=True)
    items = read_items(data)
    questions, reviews = question_and_review_rows(items)
    tables = {
        "products": catalogue_rows(items),
        "searches": search_rows(items),
        "events": event_rows(items),
        "questions": questions,
        "reviews": reviews,
    }
    paths = {kind: _write(sources / f"{kind}.csv", rows) for kind, rows in tables.items()}
    rules = (shop_rules.__doc__ or "").split("\n\n", 1)[1].strip()
    return build_dataset(
        paths.pop("products"),
        out,
        logs=paths,
        options=OPTIONS,
        reading=ReadingOptions(trust_paths=True),  # its folders of images are links
        strict=True,
        about=rules,
        pipeline=caslie and caslie.pipeline,
        profile=caslie.profile.name if caslie else "",
    )


def _write(path: Path, rows: Rows) -> Path:
    kept = list(rows)
    columns = list(dict.fromkeys(name for row in kept for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(kept)
    return path


def main() -> None:
    """Builds the data and prints the number of instances."""
    parser = argparse.ArgumentParser(description="Generate instruction data from real photographs by fixed rules.")
    parser.add_argument("data", type=Path, help="folder with products.csv, photos.csv and photos")
    parser.add_argument("out", type=Path, nargs="?", default=Path(".caslie/shop-data"))
    parser.add_argument("--store", type=Path, help="caption store: add captions and votes of the embedded profile")
    arguments = parser.parse_args()
    with Caslie.open(arguments.store, profile="embedded") if arguments.store else nullcontext() as caslie:
        report = build(arguments.data, arguments.out, caslie)
    for task, counts in report.counts.items():
        print(task, *(f"{split} {count}" for split, count in counts.items()))
    print(f"{report.instances} instances. Data card: {arguments.out / 'README.md'}")
    for leak in report.leaks:
        print(f"{leak.what}: {leak.in_common} in more than one split{' (guaranteed: none)' if leak.promised else ''}")


if __name__ == "__main__":
    main()
