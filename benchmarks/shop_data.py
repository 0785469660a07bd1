"""Instruction data made by rule on real photographs: what the evaluation and the tuning in ``README.md`` are run on.

The photographs are real: 486 shelf photos of 81 groceries (Grocery Store Dataset, Klasson et al., 2019, MIT; its
training split), beside the 33 made-up products of the sample catalogue with the pictures drawn for it. All that a
shop's customers would have said or done is made up by the rules below, with fixed seeds, before any model was run on
it: figures on these data compare treatments and models with each other, and say nothing of real shoppers.

- Catalogue: by hash, a third of the products keeps title and fields, a third only a short name (the category's last
  part) as its title, a third has no title at all; the last two thirds have no other field either, but for the
  category. Prices are left out, ids tell nothing, and an instance shows one photo of a product, drawn for it.
- category_classification: every photo, title withheld, among 10 categories.
- Searches: a query is a kind (the category's last part) with a variety (the title's other words), a brand, or a fact
  of the label (volume; what the sample's pictures print), taken from a product of the catalogue. A product of that kind
  which has what the query names is exact; any other of the kind, or of a kind in the same line of FAMILIES, is a
  substitute; of a kind beside it in COMPLEMENTS a complement; of another section irrelevant; the rest is not judged.
  Each product is judged for two queries it fits exactly, two it substitutes, one it complements and one it is
  irrelevant to, as far as there are such queries.
- Histories: a shopper has one aisle of AISLES and buys 14 products, each with probability 0.8 from that aisle.
- Questions are about facts (brand, variety, volume, country and energy of groceries; weight, material and what is
  printed of the sample) and about what only a member of staff knows. A fact is on the picture if it is brand or
  variety of a package (taken to be on every front, not looked up photo by photo) or printed on a picture of the
  sample, where all that is printed is known. It is not if it is energy (taken to be on the back) or anything else of
  the sample. Whether the photo shows volume, country or the variety of loose produce is open, and what is printed on
  one of two pictures, as an instance shows either.
- Reviews: two that say nothing of the product, and one fact in three is told in one of its own.
- answerability_prediction: yes if a review tells the fact or it is on the picture, no if neither; what is open is asked
  only where a review tells it.
- product_qa: the fact, where the fields at hand tell it, it is on the picture, or the photo may show it (all that
  is open but the country: not every photo does); no answer where neither tells it.

Run ``python benchmarks/shop_data.py DATA [OUT] [--store STORE]``; DATA holds products.csv, photos.csv and photos. The
logs are kept in OUT/sources, beside links to the pictures.
"""

import argparse
import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, TypeAlias

from caslie_tools.caslie import Caslie
from caslie_tools.catalogue.reading import read_catalogue
from caslie_tools.data.building import BuildOptions, BuildReport, build_dataset
from caslie_tools.data.building.logs import Judgement
from caslie_tools.data.building.seeded_random import hash_fraction, seeded_random, seeded_shuffle, stable_hash
from caslie_tools.data.building.shop_data import category_path
from caslie_tools.domain import Product
from caslie_tools.sample import catalogue_path
from caslie_tools.sample.draw import DRAWINGS

SEED = 4
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

FAMILIES = (
    {"Milk", "Oat Milk", "Soy Milk", "Plant drinks"},
    {"Yoghurt", "Oatghurt", "Soyghurt", "Sour Milk"},
    {"Orange", "Satsumas", "Red Grapefruit"},
    {"Lemon", "Lime"},
    {"Peach", "Nectarine", "Plum"},
    {"Apple", "Pear"},
    {"Zucchini", "Aubergine", "Cucumber"},
    {"Onion", "Leek", "Garlic"},
    {"Juice", "Juices"},
    {"Tea", "Coffee"},
    {"Kettles", "Pans"},
)
"""Kinds that can stand in for each other."""

COMPLEMENTS = (
    ("Milk", "Coffee"),
    ("Oat Milk", "Coffee"),
    ("Plant drinks", "Coffee"),
    ("Lemon", "Tea"),
    ("Yoghurt", "Passion Fruit"),
    ("Soyghurt", "Mango"),
    ("Oatghurt", "Banana"),
    ("Sour Cream", "Potato"),
    ("Sour Milk", "Banana"),
    ("Avocado", "Lime"),
    ("Tomato", "Cucumber"),
    ("Pepper", "Onion"),
    ("Garlic", "Ginger"),
    ("Cabbage", "Carrots"),
    ("Mushroom", "Leek"),
    ("Asparagus", "Lemon"),
    ("Red Beet", "Sour Cream"),
    ("Juice", "Orange"),
    ("Apple", "Carrots"),
    ("Melon", "Pineapple"),
    ("Chargers", "Cables"),
    ("Headphones", "Cables"),
    ("Jackets", "Hats"),
    ("Shirts", "Jackets"),
    ("Kettles", "Tea"),
    ("Mugs", "Tea"),
    ("Mugs", "Coffee"),
    ("Pans", "Mushroom"),
    ("Watering", "Tools"),
    ("Lights", "Bottles"),
)
"""Kinds that are used together, either way."""

AISLES: Mapping[str, frozenset[str]] = {
    "orchard": frozenset({"Apple", "Pear", "Plum", "Peach", "Nectarine"}),
    "tropics": frozenset({"Avocado", "Banana", "Kiwi", "Mango", "Papaya", "Passion Fruit", "Pineapple", "Melon"}),
    "citrus": frozenset({"Lemon", "Lime", "Orange", "Red Grapefruit", "Satsumas", "Pomegranate"}),
    "juice": frozenset({"Juice", "Juices", "Tea", "Coffee"}),
    "dairy": frozenset(
        {"Milk", "Oat Milk", "Soy Milk", "Plant drinks", "Yoghurt", "Oatghurt", "Soyghurt", "Sour Cream", "Sour Milk"}
    ),
    "salad": frozenset({"Tomato", "Cucumber", "Pepper", "Zucchini", "Aubergine", "Mushroom", "Asparagus"}),
    "roots": frozenset({"Potato", "Onion", "Leek", "Garlic", "Ginger", "Carrots", "Red Beet", "Cabbage"}),
    "outdoors": frozenset({"Jackets", "Shirts", "Hats", "Lights", "Bottles"}),
    "household": frozenset({"Headphones", "Chargers", "Cables", "Mugs", "Kettles", "Pans", "Watering", "Tools"}),
}
"""The kinds that stand side by side; a shopper has one aisle."""

ONLY_STAFF_KNOWS = (
    "Will it be cheaper next week?",
    "Which shelf is it on in the shop at the station?",
    "How many of them are left in the shop?",
    "When did this batch arrive?",
)

PRINTED = (
    (r"(SLIM|LOOSE|REGULAR) FIT", "How does it fit?"),
    (r"\d+ mm", "What water column does it withstand?"),
    (r"\d+ °C", "At which temperature is it washed?"),
    (r"\d+ h", "How long does the battery last?"),
    (r"IP\w\d", "What is its IP rating?"),
    (r"WATERPROOF|SPLASHPROOF", "Is it waterproof or only splashproof?"),
    (r"\d+ W", "How many watts does it have?"),
    (r"USB-\w", "Which USB socket does it have?"),
    (r"\d+ mAh", "What is its capacity?"),
    (r"\d+ (LUMEN|LUX)", "How bright is it?"),
    (r"\d+ ml|[\d.]+ L", "How much does it hold?"),
    (r"DISHWASHER SAFE", "Can it go into the dishwasher?"),
    (r"INDUCTION", "Which cookers is it made for?"),
    (r"\d+ cm", "How wide is it?"),
    (r"\d+ m", "How long is it?"),
    (r"VEGAN", "Is it vegan?"),
    (r"NO ADDED SUGAR", "Is there added sugar in it?"),
    (r"PRODUCT OF \w+", "Which country is it a product of?"),
    (r"CAFFEINE FREE", "Does it contain caffeine?"),
    (r"\d+ BAGS", "How many bags are in it?"),
)
"""What the sample's pictures print, and the question it answers."""

Tier: TypeAlias = Literal["full", "short", "none"]
Rows: TypeAlias = Iterable[Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A product as the rules see it."""

    product: Product
    pictures: tuple[str, ...]
    printed: tuple[str, ...] = ()
    """What its pictures print that its text does not say: known for the sample only."""

    @cached_property
    def id(self) -> str:
        """An id that tells nothing: the groceries' own are their titles."""
        return f"p-{stable_hash(SEED, self.product.id)[:8]}"

    @cached_property
    def section(self) -> str:
        """The first part of the category."""
        return category_path(self.product).split(" > ")[0]

    @cached_property
    def kind(self) -> str:
        """The last part of the category."""
        return category_path(self.product).rsplit(" > ", 1)[-1]

    @cached_property
    def brand(self) -> str:
        """The brand's name without the line it sells under."""
        return re.sub(r"( ko| eko)$", "", self.product.brand.lower())

    @cached_property
    def variety(self) -> str:
        """The title's words that are neither the brand's nor the kind's."""
        known = _stems(f"{self.brand} {self.kind}")
        return " ".join(word for word in self.product.title.lower().split() if not _stems(word) & known)

    @cached_property
    def facts(self) -> tuple[str, ...]:
        """What a label tells of it beside brand and variety."""
        volume = str(self.product.attributes.get("volume", ""))
        return (*((volume,) if volume else ()), *self.printed)

    @cached_property
    def tier(self) -> Tier:
        """How much of its text the catalogue keeps."""
        number = hash_fraction(SEED, "tier", self.id)
        return "full" if number < 1 / 3 else "short" if number < 2 / 3 else "none"

    @cached_property
    def packaged(self) -> bool:
        """Whether it is a grocery with a label on real photos."""
        return self.section == "Packages"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A query and what it asks for."""

    text: str
    kind: str
    section: str
    words: frozenset[str] = frozenset()
    brand: str = ""
    fact: str = ""

    def judge(self, item: Item) -> Judgement | None:
        """Returns how an item fits; ``None`` where the rules do not say."""
        if item.kind == self.kind:
            fits = (
                self.words <= _stems(item.product.title)
                and self.brand in ("", item.brand)
                and (not self.fact or self.fact in item.facts)
            )
            return "exact" if fits else "substitute"
        if any({item.kind, self.kind} <= family for family in FAMILIES):
            return "substitute"
        if (item.kind, self.kind) in COMPLEMENTS or (self.kind, item.kind) in COMPLEMENTS:
            return "complement"
        return "irrelevant" if item.section != self.section else None


def queries(item: Item) -> list[Wanted]:
    """Returns the queries that are made of an item."""
    name = item.kind.lower()
    wanted = partial(Wanted, kind=item.kind, section=item.section)
    found = [wanted(text=f"{item.variety} {name}".strip(), words=_stems(item.variety))]
    if item.brand:
        found.append(wanted(text=f"{item.brand} {name}", brand=item.brand))
    return found + [wanted(text=f"{name} {fact.lower()}", fact=fact) for fact in item.facts]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something a shopper may ask."""

    question: str
    answer: str
    """Empty for what only a member of staff knows."""
    pictured: bool | None
    """Whether a picture shows it; ``None`` where that is open."""
    guessable: bool = False
    """Whether product_qa asks it although it is open if a photo shows it."""
    field: bool = True
    """Whether the product's own fields tell it, where they are at hand."""


def facts(item: Item, printed: Sequence[str]) -> list[Fact]:
    """Returns what is asked about an item.

    Args:
        item: The item.
        printed: Questions that what is printed on the sample's pictures answers.
    """
    attributes = {name: str(value) for name, value in item.product.attributes.items()}
    found = [Fact(question=seeded_random(SEED, "staff", item.id).choice(ONLY_STAFF_KNOWS), answer="", pictured=False)]
    if item.packaged:
        found.append(Fact(question="Which brand is it?", answer=item.product.brand, pictured=True))
        if item.variety:
            found.append(Fact(question="Which sort or flavour is it?", answer=item.variety, pictured=True))
        asked = {
            "volume": ("How much is in the package?", None, True),
            "country": ("Which country is it from?", None, False),
            "kcal_per_100g": ("How many kcal has it per 100 g?", False, False),
        }
        found += [
            Fact(question=question, answer=attributes[name], pictured=pictured, guessable=guessable)
            for name, (question, pictured, guessable) in asked.items()
            if name in attributes
        ]
    elif item.section in ("Fruit", "Vegetables"):
        if item.variety:
            found.append(Fact(question="Which variety is it?", answer=item.variety, pictured=None, guessable=True))
    else:
        own = {question: answer for answer in item.printed if (question := _asked(answer))}
        seen = True if len(item.pictures) == 1 else None
        found += [
            Fact(question=ask, answer=answer, pictured=seen, guessable=True, field=False) for ask, answer in own.items()
        ]
        plain = {"weight_g": "How many grams does it weigh?", "material": "What is it made of?"}
        found += [
            Fact(question=question, answer=attributes[name], pictured=False)
            for name, question in plain.items()
            if name in attributes
        ]
        if item.tier != "full":  # or its text might tell
            other = seeded_random(SEED, "other", item.id).choice(
                [question for question in printed if question not in own]
            )
            found.append(Fact(question=other, answer="", pictured=False))
    return found


def read_items(data: Path) -> list[Item]:
    """Reads the groceries, with their shelf photos, and the sample."""
    with (data / "photos.csv").open(encoding="utf-8", newline="") as file:
        photos = defaultdict(list)
        for row in csv.DictReader(file):
            photos[row["id"]].append(row["image"])
    groceries = [product for product in read_catalogue(data / "products.csv") if isinstance(product, Product)]
    sample = [product for product in read_catalogue(catalogue_path()) if isinstance(product, Product)]
    told = {drawing.file: drawing.facts for drawing in DRAWINGS}
    items = [Item(product=product, pictures=tuple(photos[product.id])) for product in groceries]
    for product in sample:
        names = [image.label for image in product.images]
        printed = tuple(fact for name in names for fact in told[name])
        items.append(Item(product=product, pictures=tuple(f"sample/{name}" for name in names), printed=printed))
    return items


def catalogue_rows(items: Iterable[Item]) -> Iterator[dict[str, object]]:
    """The catalogue, with what the rules withhold left out."""
    for item in items:
        row: dict[str, object] = {"id": item.id, "category": item.product.category, "image": "|".join(item.pictures)}
        if item.tier == "full":
            row |= {name: item.product.fields.get(name, "") for name in ("title", "brand", "description")}
            row |= item.product.attributes
        elif item.tier == "short":
            row["title"] = item.kind
        yield row


def search_rows(items: Sequence[Item]) -> Iterator[dict[str, object]]:
    """Judged searches: for every product so many queries of each judgement."""
    wanted = {"exact": 2, "substitute": 2, "complement": 1, "irrelevant": 1}
    known = {query.text: query for item in items for query in queries(item)}
    for item in items:
        left = Counter(wanted)
        for text in seeded_shuffle(sorted(known), SEED, "search", item.id):
            judgement = known[text].judge(item)
            if judgement is not None and left[judgement] > 0:
                left[judgement] -= 1
                yield {"query": text, "product": item.id, "judgement": judgement}


def event_rows(items: Sequence[Item]) -> Iterator[dict[str, object]]:
    """What shoppers bought, a purchase a day."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for shopper in range(SHOPPERS):
        chance = seeded_random(SEED, "shopper", shopper)
        aisle = AISLES[chance.choice(sorted(AISLES))]
        own = [item.id for item in items if item.kind in aisle]
        others = [item.id for item in items if item.kind not in aisle]
        for day in range(PURCHASES):
            bought = chance.choice(own if chance.random() < LOYALTY else others)
            time = (start + timedelta(days=day)).isoformat()
            yield {"user": f"shopper-{shopper}", "product": bought, "time": time, "event": "purchase"}


def question_and_review_rows(items: Sequence[Item]) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """The questions, and the reviews that tell a fact in three."""
    questions: list[dict[str, object]] = []
    reviews: list[dict[str, object]] = []
    printed = sorted({question for item in items for fact in item.printed if (question := _asked(fact))})
    for item in items:
        texts = seeded_random(SEED, "reviews", item.id).sample(
            ["Arrived quickly.", "Would buy it again.", "Good value.", "A gift for my sister.", "Not what I expected."],
            2,
        )
        for fact in facts(item, printed):
            told = bool(fact.answer) and hash_fraction(SEED, "told", item.id, fact.question) < 1 / 3
            if told:
                texts.append(f"Somebody asked: {fact.question} I can tell: {fact.answer}.")
            answerable = True if told else fact.pictured
            at_hand = bool(fact.answer) and (
                (fact.field and item.tier == "full") or bool(fact.pictured) or fact.guessable
            )
            if answerable is not None or at_hand:
                said = "" if answerable is None else "yes" if answerable else "no"
                answer = fact.answer if at_hand else ""
                questions.append({"product": item.id, "question": fact.question, "answer": answer, "answerable": said})
        reviews += [{"product": item.id, "text": text, "stars": 3} for text in texts]
    return questions, reviews


def build(data: Path, out: Path, caslie: Caslie | None = None) -> BuildReport:
    """Writes the logs by the rules, and builds the data of them; with captions and votes if there is a ``caslie``."""
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
    rules = (__doc__ or "").rsplit("\n\n", 1)[0].split("\n\n", 1)[1].replace("``", "`")
    return build_dataset(
        paths.pop("products"),
        out,
        logs=paths,
        options=OPTIONS,
        strict=True,
        about=rules,
        pipeline=caslie and caslie.pipeline,
        profile=caslie.profile.name if caslie else "",
    )


def _asked(fact: str) -> str | None:
    return next((question for pattern, question in PRINTED if re.fullmatch(pattern, fact)), None)


def _stems(text: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in re.findall(r"[^\W_]+", text.lower()))


def _write(path: Path, rows: Rows) -> Path:
    kept = list(rows)
    columns = list(dict.fromkeys(name for row in kept for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(kept)
    return path


def main() -> None:
    """Builds the data and prints the counts."""
    parser = argparse.ArgumentParser(description="Makes instruction data by rule on real photographs.")
    parser.add_argument("data", type=Path, help="folder with products.csv, photos.csv and photos")
    parser.add_argument("out", type=Path, nargs="?", default=Path(".caslie/shop-data"))
    parser.add_argument("--store", type=Path, help="caption store; with one, captions and votes are put in (embedded)")
    arguments = parser.parse_args()
    with Caslie.open(arguments.store, profile="embedded") if arguments.store else nullcontext() as caslie:
        report = build(arguments.data, arguments.out, caslie)
    for task, counts in report.counts.items():
        print(task, *(f"{split} {count}" for split, count in counts.items()))
    print(f"{report.instances} instances; the data card: {arguments.out / 'README.md'}")
    for leak in report.leaks:
        print(f"{leak.what}: {leak.in_common} in more than one split{' (promised: none)' if leak.promised else ''}")


if __name__ == "__main__":
    main()
