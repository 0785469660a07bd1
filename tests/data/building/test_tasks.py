from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from caslie_tools.data.building.drafts import Draft, LeftOut
from caslie_tools.data.building.logs import Event, Question, Review, Search
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.splits import Splitter
from caslie_tools.data.building.task_builders import TASK_BUILDERS
from caslie_tools.domain import ImageRef, Product
from caslie_tools.tasks.answers import option_label, option_text

ALL_TRAIN = (1.0, 0.0, 0.0)
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def product(name: str, category: str = "Kitchen > Mugs", **fields: Any) -> Product:
    return Product(id=name, title=fields.pop("title", f"The {name}"), category=category, **fields)


def shop_of(*products: Product, **sources: Any) -> ShopData:
    pictures = {one.id: (f"picture of {one.id}",) for one in products}
    return ShopData(products={one.id: one for one in products}, **{"pictures": pictures} | sources)


def build(task: str, shop: ShopData, **choices: Any) -> list[Draft | LeftOut]:
    options = BuildOptions(**{"proportions": ALL_TRAIN} | choices)
    return list(TASK_BUILDERS[task].build(shop, Splitter(shop, options), options))


def drafts(task: str, shop: ShopData, **choices: Any) -> list[Draft]:
    return [one for one in build(task, shop, **choices) if isinstance(one, Draft)]


def reasons(task: str, shop: ShopData, **choices: Any) -> list[str]:
    return [one.reason for one in build(task, shop, **choices) if isinstance(one, LeftOut)]


def right_option(draft: Draft) -> str:
    return next(option_text(option) for option in draft.options if option_label(option) == draft.output)


SHELVES = [product(f"{name}{number}", f"Shop > {name}") for name in "abcdefgh" for number in range(40)]


class TestCategoryClassification:
    TASK = "category_classification"

    def test_the_right_category_has_a_random_letter_among_different_options(self) -> None:
        built = drafts(self.TASK, shop_of(*SHELVES), options=4)
        assert len(built) == len(SHELVES)
        for draft in built:
            assert len({option_text(option) for option in draft.options}) == 4
            assert right_option(draft) == draft.products[0][0]
        letters = Counter(draft.output for draft in built)
        assert sorted(letters) == ["A", "B", "C", "D"]
        assert min(letters.values()) > 50  # 80 expected, 7.7 standard deviation

    def test_parents_and_subcategories_are_never_wrong_options(self) -> None:
        shop = shop_of(product("one", "Food"), product("two", "Food > Tea"), product("three", "Home"))
        options = {draft.products[0]: sorted(map(option_text, draft.options)) for draft in drafts(self.TASK, shop)}
        assert options == {"one": ["Food", "Home"], "two": ["Home", "Tea"], "three": ["Food", "Home", "Tea"]}

    def test_categories_with_the_same_last_part_are_shown_with_their_full_path(self) -> None:
        shop = shop_of(product("one", "Kitchen>Bottles"), product("two", "Sport > Bottles"), product("three", "Home"))
        assert sorted(shop.categories.values()) == ["Home", "Kitchen > Bottles", "Sport > Bottles"]

    def test_a_withheld_title_needs_a_picture(self) -> None:
        shop = shop_of(product("one", "a"), product("two", "b"), pictures={"one": ("x",)})
        (draft,) = drafts(self.TASK, shop, withhold_title=True)
        assert draft.input == {"title": ""}
        assert reasons(self.TASK, shop, withhold_title=True) == ["the product has neither a title nor a picture"]

    def test_pictures_any_gives_an_instance_per_picture_and_all_gives_one_instance_with_all(self) -> None:
        shop = shop_of(product("one", "a"), product("two", "b"), pictures={"one": ("y", "x"), "two": ("z", "w")})
        shown = sorted(draft.pictures for draft in drafts(self.TASK, shop, pictures="any"))
        assert shown == [(("w", "two"),), (("x", "one"),), (("y", "one"),), (("z", "two"),)]
        assert (("y", "one"), ("x", "one")) in [draft.pictures for draft in drafts(self.TASK, shop, pictures="all")]

    def test_held_out_categories_are_options_only_in_the_ood_split(self) -> None:
        shop = shop_of(*SHELVES)
        for draft in drafts(self.TASK, shop, hold_out_categories=("Shop > a", "Shop>b")):
            named = {option_text(option) for option in draft.options}
            assert named == set("abcdefgh") if draft.products[0][0] in "ab" else named == set("cdefgh")

    def test_a_product_without_a_category_or_without_other_categories_yields_nothing(self) -> None:
        assert reasons(self.TASK, shop_of(product("one", ""), product("two", "a"))) == [
            "the product has no category",
            "there is no other category",
        ]


def search(query: str, name: str, judgement: Any = None, **fields: Any) -> Search:
    return Search(query=query, product=name, judgement=judgement, **fields)


class TestSearches:
    MPC = "multiclass_product_classification"
    PSI = "product_substitute_identification"
    PRODUCTS = (product("one"), product("two"), product("far", "Garden > Hoses"))

    def test_the_judgement_is_the_answer(self) -> None:
        judged = ("exact", "substitute", "complement", "irrelevant")
        shop = shop_of(*self.PRODUCTS, searches=[search(word, "one", word) for word in judged])
        answers = {draft.query: draft.output for draft in drafts(self.MPC, shop)}
        assert answers == {"exact": "A", "substitute": "B", "complement": "C", "irrelevant": "D"}
        answers = {draft.query: draft.output for draft in drafts(self.PSI, shop)}
        assert answers == {"exact": "no", "substitute": "yes", "complement": "no", "irrelevant": "no"}
        assert drafts(self.MPC, shop)[0].input == {"query": "complement", "product title": "The one"}

    def test_contradicting_judgements_are_left_out(self) -> None:
        shop = shop_of(*self.PRODUCTS, searches=[search("Mug", "one", "exact"), search("mug", "one", "substitute")])
        for task in (self.MPC, self.PSI):
            assert drafts(task, shop) == []
            assert reasons(task, shop) == ["the judgements contradict each other"]

    def test_a_purchase_gives_a_weak_exact_match_and_a_random_irrelevant_product(self) -> None:
        bought = [search("mug", "one", purchased=2), search("mug", "two", clicked=9)]
        shop = shop_of(*self.PRODUCTS, searches=bought)
        match, other = drafts(self.MPC, shop)
        assert (match.output, match.products, match.weak) == ("A", ("one",), True)
        assert (other.output, other.products, other.weak) == ("D", ("far",), True)
        assert reasons(self.MPC, shop) == ["only clicked, which does not imply a class"]
        assert drafts(self.PSI, shop) == []

    def test_equal_judgements_of_several_users_are_one_instance(self) -> None:
        rows = [search("mug", "one", "exact", user="ann"), search("mug", "one", "exact", user="bob")]
        (draft,) = drafts(self.MPC, shop_of(*self.PRODUCTS, searches=rows))
        assert draft.users == ("ann", "bob")


class TestReviews:
    TASK = "sentiment_analysis"

    def test_stars_become_letters_and_the_picture_is_the_one_attached(self) -> None:
        own = ImageRef(url="https://shop.example/own.png")
        reviews = [Review(product="one", text=f"text {stars}", stars=stars) for stars in range(1, 6)]
        shop = shop_of(
            product("one"),
            reviews=[*reviews, Review(product="one", text="seen", stars=5, image=own)],
            review_pictures={own: "own"},
        )
        by_text = {draft.input["review"]: draft for draft in drafts(self.TASK, shop)}
        assert [by_text[f"text {stars}"].output for stars in range(1, 6)] == ["E", "D", "C", "B", "A"]
        assert by_text["text 1"].pictures == ()
        assert by_text["seen"].pictures == (("own", "one"),)


class TestQuestions:
    AP = "answerability_prediction"
    PQA = "product_qa"

    def test_the_document_has_only_reviews_from_before_the_question(self) -> None:
        reviews = [
            Review(product="one", text="The handle is fine.", stars=4, time=START),
            Review(product="one", text="It holds 350 ml of tea.", stars=4, time=START),
            Review(product="one", text="Later: it holds less tea.", stars=4, time=START + timedelta(days=9)),
            Review(product="two", text="Holds tea, too.", stars=4, time=START),
            Review(product="one", text="long " * 200, stars=4),
        ]
        question = Question(product="one", question="How much tea does it hold?", answerable=True, time=START)
        (draft,) = drafts(self.AP, shop_of(product("one"), product("two"), reviews=reviews, questions=[question]))
        assert draft.output == "yes"
        first, *others = draft.input["document"]
        assert first == "It holds 350 ml of tea."
        assert len(others) == 2
        assert "The handle is fine." in others
        assert max(map(len, others)) <= 404

    def test_by_time_reviews_without_a_time_are_excluded(self) -> None:
        reviews = [
            Review(product="one", text="Known by then.", stars=4, time=START),
            Review(product="one", text="Who knows when?", stars=4),
        ]
        question = Question(product="one", question="Big?", answerable=True, time=START)
        shop = shop_of(product("one"), reviews=reviews, questions=[question])
        (by_product,) = drafts(self.AP, shop)
        assert len(by_product.input["document"]) == 2
        (by_time,) = drafts(self.AP, shop, split_by="time")
        assert by_time.input["document"] == ["Known by then."]

    def test_questions_without_a_label_or_an_answer_are_left_out(self) -> None:
        asked = [
            Question(product="one", question="Answered?", answer="Yes."),
            Question(product="one", question="Never?", answerable=False),
            Question(product="one", question="Open?", answerable=True),
        ]
        shop = shop_of(product("one", brand="Tonus"), questions=asked)
        assert {draft.input["question"]: draft.output for draft in drafts(self.AP, shop)} == {
            "Never?": "no",
            "Open?": "yes",
        }
        answers = {draft.input["question"]: draft for draft in drafts(self.PQA, shop)}
        assert {question: draft.output for question, draft in answers.items()} == {"Answered?": "Yes.", "Never?": ""}
        assert answers["Answered?"].input["products"] == [
            {"id": "one", "title": "The one", "brand": "Tonus", "category": "Kitchen > Mugs"}
        ]
        assert reasons(self.AP, shop) == ["the question has no label answerable"]
        assert reasons(self.PQA, shop) == ["the question has no answer"]


def purchases(user: str, names: Sequence[str], event: Literal["purchase", "view"] = "purchase") -> list[Event]:
    return [
        Event(user=user, product=name, time=START + timedelta(days=day), event=event) for day, name in enumerate(names)
    ]


class TestRelations:
    TASK = "product_relation_prediction"

    def test_baskets_views_and_categories_give_the_three_relations(self) -> None:
        names = ("one", "two", "three", "four")
        events = [Event(user="u", product=name, time=START, basket="b") for name in ("one", "two")]
        events += [Event(user="v", product=name, time=START, event="view") for name in ("two", "one", "three")]
        shop = shop_of(*map(product, names), events=events)
        relations = {tuple(sorted(draft.products)): draft.output for draft in drafts(self.TASK, shop)}
        assert relations.pop(("one", "two")) == "A"  # bought together outweighs viewed together
        assert relations.pop(("one", "three")) == "B"
        assert relations.pop(("three", "two")) == "B"
        assert set(relations.values()) == {"C"}
        assert len(relations) == 2  # as many as viewed together
        assert all("four" in pair for pair in relations)

    def test_a_pair_below_the_support_is_not_related(self) -> None:
        events = [
            Event(user="u", product=name, time=START + timedelta(days=day))
            for day, pair in enumerate([("one", "two"), ("one", "two"), ("one", "far")])
            for name in pair
        ]
        shop = shop_of(product("one"), product("two", "a"), product("far", "b"), events=events)
        (draft,) = drafts(self.TASK, shop, support=2)
        assert sorted(draft.products) == ["one", "two"]
        assert draft.time == START + timedelta(days=1)
        assert draft.pictures == tuple((f"picture of {name}", name) for name in draft.products)

    def test_a_basket_of_too_many_products_is_left_out(self) -> None:
        events = [Event(user="u", product=one.id, time=START, basket="b") for one in SHELVES[:51]]
        shop = shop_of(*SHELVES, events=events)
        assert drafts(self.TASK, shop) == []
        assert reasons(self.TASK, shop) == ["a basket of more than 50 products"]

    def test_a_product_without_title_and_picture_is_in_no_pair(self) -> None:
        events = [Event(user="u", product=name, time=START) for name in ("one", "two")]
        shop = shop_of(product("one"), product("two", title=""), events=events, pictures={})
        assert drafts(self.TASK, shop) == []
        assert reasons(self.TASK, shop) == ["a product has neither a title nor a picture"]

    def test_a_missing_picture_keeps_its_place(self) -> None:
        events = [Event(user="u", product=name, time=START) for name in ("one", "two")]
        shop = shop_of(product("one", "a"), product("two", "b"), events=events, pictures={"one": ("x",)})
        (draft,) = drafts(self.TASK, shop)
        assert set(draft.pictures) == {(None, "two"), ("x", "one")}


class TestHistories:
    TASK = "sequential_recommendation"

    def test_the_last_purchase_is_the_answer(self) -> None:
        shop = shop_of(*SHELVES, events=[*purchases("u", ["a1", "b1", "a1", "c1"]), *purchases("u", ["d1"], "view")])
        (draft,) = drafts(self.TASK, shop, options=5)
        assert draft.input == ["1st: The a1", "2nd: The b1"]
        assert right_option(draft) == "The c1"
        assert len(draft.options) == len({option_text(option) for option in draft.options}) == 5
        assert not {"The a1", "The b1"} & {option_text(option) for option in draft.options}
        assert len(draft.pictures) == 2 + 5
        assert [shown for _, shown in draft.pictures] == list(draft.products)

    def test_the_right_answer_has_a_random_letter(self) -> None:
        events = [event for user in range(300) for event in purchases(f"u{user}", ["a1", "b1"])]
        letters = Counter(draft.output for draft in drafts(self.TASK, shop_of(*SHELVES, events=events), options=3))
        assert sorted(letters) == ["A", "B", "C"]
        assert min(letters.values()) > 70  # 100 expected, 8 standard deviation

    def test_a_long_history_is_cut_to_its_last_ten_products(self) -> None:
        names = [f"a{number}" for number in range(15)]
        (draft,) = drafts(self.TASK, shop_of(*SHELVES, events=purchases("u", names)))
        assert draft.input[0] == "1st: The a4"
        assert len(draft.input) == 10

    def test_variants_of_the_answer_are_never_wrong_options(self) -> None:
        same = [product(name, attributes={"group": "g"}) for name in ("last", "variant")]
        shop = shop_of(product("first"), *same, product("other"), events=purchases("u", ["first", "last"]))
        (draft,) = drafts(self.TASK, shop)
        assert sorted(map(option_text, draft.options)) == ["The last", "The other"]

    @pytest.mark.parametrize("names", [["a1"], ["a1", "a1"]])
    def test_a_single_product_is_not_a_history(self, names: list[str]) -> None:
        shop = shop_of(*SHELVES, events=purchases("u", names))
        assert drafts(self.TASK, shop) == []
        assert len(reasons(self.TASK, shop)) == 1
