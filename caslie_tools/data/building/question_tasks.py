"""What questions support, with the reviews: answerability_prediction and product_qa."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from caslie_tools.data.building.logs import Question, Review
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.seeding import digest
from caslie_tools.data.building.shop import Draft, LeftOut, Shop
from caslie_tools.data.building.splits import Splitter
from caslie_tools.tasks import product_question

ANSWERABILITY = "answerability_prediction"
PRODUCT_QA = "product_qa"

_SNIPPETS = 10
_SNIPPET_CHARACTERS = 400


def answerability_prediction(shop: Shop, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Asks whether the product's reviews answer a question, where the log says it.

    The document is at most ten reviews, those that share most words with the question first, cut to 400 characters
    each, and none that was written after the question; where time splits, none either that may have been.
    """
    reviews: Mapping[str, list[Review]] = defaultdict(list)
    for review in shop.reviews:
        reviews[review.product].append(review)
    for question in shop.questions:
        if question.answerable is None:
            yield LeftOut(task=ANSWERABILITY, reason="nobody said whether it can be answered")
            continue
        known = [review for review in reviews[question.product] if _was_known(review, question, options)]
        yield Draft(
            task=ANSWERABILITY,
            input={"question": question.question, "document": _document(question, known)},
            output="yes" if question.answerable else "no",
            pictures=shop.shown(question.product, options, "question", question.question),
            products=(question.product,),
            times=(question.time,),
        )


def product_qa(shop: Shop, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Asks the question with the product's own fields at hand; the answer is empty if there is none.

    A question without an answer stands for one that cannot be answered only if the log says so.
    """
    for question in shop.questions:
        if not question.answer and question.answerable is not False:
            yield LeftOut(task=PRODUCT_QA, reason="nobody answered it")
            continue
        product = shop.products[question.product]
        yield Draft(
            task=PRODUCT_QA,
            input=product_question(question.question, [product]).input,
            output=question.answer,
            pictures=shop.shown(question.product, options, "question", question.question),
            products=(question.product,),
            times=(question.time,),
        )


def _was_known(review: Review, question: Question, options: BuildOptions) -> bool:
    if review.time is None or question.time is None:
        return options.split_by != "time"
    return review.time <= question.time


def _document(question: Question, reviews: Sequence[Review]) -> list[str]:
    asked = _words(question.question)
    order = sorted({review.text for review in reviews}, key=lambda text: (-len(asked & _words(text)), digest(text)))
    return [_cut(text) for text in order[:_SNIPPETS]]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))


def _cut(text: str) -> str:
    if len(text) <= _SNIPPET_CHARACTERS:
        return text
    return text[:_SNIPPET_CHARACTERS].rsplit(" ", 1)[0] + " ..."
