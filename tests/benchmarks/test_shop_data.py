"""The rules of the data that the evaluation uses."""

from pathlib import Path

from shop_data import build, read_items
from shop_rules import AISLES, PRINTED, Fact, Item, facts, queries

from caslie_tools.data.reading import read_records
from caslie_tools.data.records import Record
from caslie_tools.domain import Product
from tests.paths import GROCERY, needs_grocery


def item(title: str, category: str, *, brand: str = "", printed: tuple[str, ...] = (), **attributes: str) -> Item:
    product = Product(id=title, title=title, category=category, brand=brand, attributes=attributes)
    return Item(product=product, pictures=("x.jpg",), printed=printed)


JUICE = item("Bravo Apple Juice", "Packages > Juice", brand="BRAVO", volume="2l")
OTHER_JUICE = item("Tropicana Apple Juice", "Packages > Juice", brand="TROPICANA", volume="1l")
MILK = item("Arla Standard Milk", "Packages > Milk", brand="ARLA KO", volume="1l")
ORANGE = item("Orange", "Fruit > Orange")
BANANA = item("Banana", "Fruit > Banana")
LAMP = item("Trail headlamp", "Outdoor > Lights", printed=("IP67",))


def test_queries_are_made_from_variety_brand_and_facts() -> None:
    assert [query.text for query in queries(JUICE)] == ["apple juice", "bravo juice", "juice 2l"]
    assert [query.text for query in queries(MILK)] == ["standard milk", "arla milk", "milk 1l"]
    assert [query.text for query in queries(ORANGE)] == ["orange"]


def test_the_rules_judge_the_relevance_of_a_product() -> None:
    apple, bravo, two_litres = queries(JUICE)
    assert [query.judge(JUICE) for query in (apple, bravo, two_litres)] == ["exact"] * 3
    assert [query.judge(OTHER_JUICE) for query in (apple, bravo, two_litres)] == ["exact", "substitute", "substitute"]
    assert apple.judge(ORANGE) == "complement"
    assert apple.judge(LAMP) == "irrelevant"
    assert apple.judge(MILK) is None  # another kind of the same section
    assert queries(ORANGE)[0].judge(BANANA) is None


def test_facts_in_an_image_differ_from_facts_that_are_unknown() -> None:
    questions = sorted({question for _, question in PRINTED})
    of_juice = {fact.question: fact for fact in facts(JUICE, questions)}
    assert of_juice["Which brand is it?"] == Fact(question="Which brand is it?", answer="BRAVO", pictured=True)
    assert of_juice["How much is in the package?"].pictured is None
    of_lamp = {fact.question: fact.answer for fact in facts(LAMP, questions) if fact.pictured}
    assert of_lamp == {"What is its IP rating?": "IP67"}
    unknown = [fact for fact in facts(LAMP, questions) if not fact.answer]
    assert all(fact.pictured is False for fact in unknown)


@needs_grocery
class TestOnThePhotos:
    def test_each_product_has_one_aisle_and_an_image(self) -> None:
        items = read_items(GROCERY)
        assert len(items) == 81 + 33
        for one in items:
            assert sum(one.kind in aisle for aisle in AISLES.values()) == 1
            assert one.pictures
            assert one.product.title.lower() not in one.id

    def test_the_data_are_built_without_leaks(self, tmp_path: Path) -> None:
        report = build(GROCERY, tmp_path)
        assert report.faults == ()
        assert all(leak.kept for leak in report.leaks)
        assert len(report.counts) == 6
        assert all(50 <= counts["test"] <= 220 for counts in report.counts.values())
        records = list(read_records(tmp_path))
        assert len(records) == report.instances
        assert all(isinstance(record, Record) for record in records)
        assert "by the rules below" in (tmp_path / "README.md").read_text(encoding="utf-8")
