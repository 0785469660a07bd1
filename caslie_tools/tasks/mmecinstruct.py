"""The seven tasks of the dataset MMECInstruct (paper, section on the dataset), in the dataset's own form.

Instructions, aims and questions are parts of prompts. If one of them changes, captions that were made before are not
found again, and scores change.
"""

from typing import Annotated

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from caslie_tools.tasks.definition import Metric, Task
from caslie_tools.tasks.places import ImageSlot

CAPTION_KEY = "product information extracted from image"
"""The key that captions are written under in the tasks about one product. The published models were tuned on it."""

Text = Annotated[str, Field(min_length=1)]


@with_config(extra="forbid")
class Answerability(TypedDict):
    """A question and snippets of reviews."""

    question: Text
    document: list[str] | str


@with_config(extra="forbid")
class Titled(TypedDict):
    """A product's title; empty if it is withheld."""

    title: str


Relation = TypedDict("Relation", {"product 1": str, "product 2": str})
QueryAndProduct = TypedDict("QueryAndProduct", {"query": Text, "product title": str})
# Like the classes, these forbid other keys: an input must not already hold a caption under the caption's key.
with_config(extra="forbid")(Relation)
with_config(extra="forbid")(QueryAndProduct)


@with_config(extra="forbid")
class Review(TypedDict):
    """A customer's review."""

    review: Text


def _related_product(own: int, other: int) -> ImageSlot:
    return ImageSlot(
        name=f"product {own}",
        known=f"{{product {own}}}",
        compared_with=f"{{product {other}}}",
        aim=f"telling how product {own} relates to product {other}: bought together, viewed together or similar",
        question=f"Does the information from the image of product {own} help to tell how the two products relate?",
        key=f"product {own} information extracted from image",
    )


MMECINSTRUCT: tuple[Task, ...] = (
    Task(
        name="answerability_prediction",
        abbreviation="ap",
        instruction="Tell whether the product's question can be answered from the document. Answer yes or no.",
        input=TypeAdapter(Answerability),
        image_slots=(
            ImageSlot(
                name="product",
                focus="{question}",
                known="{document}",
                known_in_paper="",
                aim="telling whether a question about the product can be answered",
                question="Does the information from the image help to tell whether the question can be answered?",
                key=CAPTION_KEY,
            ),
        ),
        answers="yes_no",
        metric=Metric(name="f1", positive="yes"),
        published=True,
        decision="answerability",
    ),
    Task(
        name="category_classification",
        abbreviation="cc",
        instruction="Choose the category the product belongs to. Answer with the letter of the option.",
        input=TypeAdapter(Titled),
        image_slots=(
            ImageSlot(
                name="product",
                known="{title}",
                aim="finding the category the product belongs to",
                question="Does the information from the image help to find the product's category?",
                key=CAPTION_KEY,
            ),
        ),
        answers="letter",
        options="given",
        metric=Metric(name="recall@1"),
        published=True,
    ),
    Task(
        name="product_relation_prediction",
        abbreviation="prp",
        instruction="Choose how the two products relate. Answer with the letter of the option.",
        input=TypeAdapter(Relation),
        image_slots=(_related_product(1, 2), _related_product(2, 1)),
        answers="letter",
        # Word for word as in the dataset.
        options=(
            "A: Users who buy product 1 may also buy product 2.",
            "B: Users who view product 1 may also view product 2.",
            "C: The product 1 is similar with the product 2.",
        ),
        metric=Metric(name="macro_f1"),
        published=True,
        decision="relation",
    ),
    Task(
        name="product_substitute_identification",
        abbreviation="psi",
        instruction="Tell whether the product is a substitute for what the query asks for. Answer yes or no.",
        input=TypeAdapter(QueryAndProduct),
        image_slots=(
            ImageSlot(
                name="product",
                focus="{query}",
                known="{product title}",
                aim="telling whether the product can stand in for what a shopper searched for",
                question="Does the information from the image help to tell whether the product is a substitute?",
                key=CAPTION_KEY,
            ),
        ),
        answers="yes_no",
        metric=Metric(name="f1", positive="yes"),
        published=True,
        decision="substitution",
    ),
    Task(
        name="multiclass_product_classification",
        abbreviation="mpc",
        instruction="Choose how well the product fits the query. Answer with the letter of the option.",
        input=TypeAdapter(QueryAndProduct),
        image_slots=(
            ImageSlot(
                name="product",
                focus="{query}",
                known="{product title}",
                aim="telling how well the product fits what a shopper searched for",
                question="Does the information from the image help to tell how well the product fits the query?",
                key=CAPTION_KEY,
            ),
        ),
        answers="letter",
        options=(
            "A: The product is an exact match for the query.",
            "B: The product is a substitute for what the query asks for.",
            "C: The product is a complement to what the query asks for.",
            "D: The product is irrelevant to the query.",
        ),
        metric=Metric(name="accuracy"),
        published=True,
        decision="relevance",
    ),
    Task(
        name="sentiment_analysis",
        abbreviation="sa",
        instruction="Choose the reviewer's sentiment. Answer with the letter of the option.",
        input=TypeAdapter(Review),
        image_slots=(
            ImageSlot(
                name="review",
                focus="{review}",
                known="{review}",
                aim="telling how the reviewer feels about the product",
                question="Does the information from the image help to tell how the reviewer feels?",
                key=CAPTION_KEY,
            ),
        ),
        answers="letter",
        options=("A: very positive", "B: positive", "C: neutral", "D: negative", "E: very negative"),
        metric=Metric(name="macro_f1"),
        published=True,
        decision="sentiment",
    ),
    Task(
        name="sequential_recommendation",
        abbreviation="sr",
        instruction="Choose the product the shopper will buy next. Answer with the letter of the option.",
        input=TypeAdapter(Annotated[list[Text], Field(min_length=1)]),
        image_slots=(
            ImageSlot(
                name="purchase {number}",
                each="input",
                known="{item}",
                aim="predicting the shopper's next purchase from this product, which the shopper bought before",
                question="Does the information from the image of this past purchase help to predict the next one?",
            ),
            ImageSlot(
                name="candidate {label}",
                each="options",
                known="{item}",
                aim="predicting whether this candidate product is the shopper's next purchase",
                question="Does the information from the image of this candidate help to predict the next purchase?",
            ),
        ),
        answers="letter",
        options="given",
        metric=Metric(name="recall@1"),
        published=True,
        decision="next_item",
        input_description="a list of '1st: title' strings, oldest first",
    ),
)
