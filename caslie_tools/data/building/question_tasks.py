"""Builds answerability_prediction and product_qa, from questions and reviews."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from caslie_tools.data.building.drafts import Draft, LeftOut
from caslie_tools.data.building.logs import Question, Review
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.seeded_random import stable_hash
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.splits import Splitter
from caslie_tools.tasks import product_question

ANSWERABILITY = "answerability_prediction"
PRODUCT_QA = "product_qa"

_MAX_SNIPPETS = 10
_MAX_SNIPPET_CHARACTERS = 400


def answerability_prediction(shop: ShopData, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Yields an instance per question whose log row has a label: do the product's reviews answer it?

    The document is at most ten reviews, each cut to 400 characters. The reviews that share the most words with the
    question come first. Reviews written after the question are excluded. If the data is split by time, reviews without
    a time are excluded too. If it is split by user, reviews whose authors are in another split are excluded.
    """
    reviews: Mapping[str, list[Review]] = defaultdict(list)
    for review in shop.reviews:
        reviews[review.product].append(review)
    for question in shop.questions:
        if question.answerable is None:
            yield LeftOut(task=ANSWERABILITY, reason="the question has no label answerable")
            continue
        asked = Draft(
            task=ANSWERABILITY,
            input={"question": question.question, "document": []},
            output="yes" if question.answerable else "no",
            pictures=shop.pictures_of(question.product, options, "question", question.question),
            products=(question.product,),
            users=(question.user,) if question.user else (),
            times=(question.time,),
        )
        split = splits.place(asked)
        if isinstance(split, LeftOut):
            yield split
            continue
        authors = authors_by_quote(reviews[question.product])
        document = [
            quote
            for quote in _document(question, reviews[question.product], options)
            if all(splits.can_quote(user, split) for user in authors[quote])
        ][:_MAX_SNIPPETS]
        users = {user for quote in document for user in authors[quote]} | {*asked.users}
        yield replace(asked, input=asked.input | {"document": document}, users=tuple(sorted(users)))


def product_qa(shop: ShopData, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Yields an instance per question, with the product's fields as input.

    The right answer is empty for a question that cannot be answered. A question without an answer is used only if the
    log labels it as not answerable.
    """
    for question in shop.questions:
        if not question.answer and question.answerable is not False:
            yield LeftOut(task=PRODUCT_QA, reason="the question has no answer")
            continue
        product = shop.products[question.product]
        yield Draft(
            task=PRODUCT_QA,
            input=product_question(question.question, [product]).input,
            output=question.answer,
            pictures=shop.pictures_of(question.product, options, "question", question.question),
            products=(question.product,),
            users=(question.user,) if question.user else (),
            times=(question.time,),
        )


def authors_by_quote(reviews: Iterable[Review]) -> Mapping[str, set[str]]:
    """Returns the known authors of each review of one product, by the review's text as a document quotes it."""
    authors: dict[str, set[str]] = defaultdict(set)
    for review in reviews:
        authors[_cut(review.text)] |= {review.user} - {""}
    return authors


def _is_earlier(review: Review, question: Question, options: BuildOptions) -> bool:
    if review.time is None or question.time is None:
        return options.split_by != "time"
    return review.time <= question.time


def _document(question: Question, reviews: Iterable[Review], options: BuildOptions) -> list[str]:
    """Returns the reviews that were written before the question, the most similar first."""
    asked = _words(question.question)
    texts = {review.text for review in reviews if _is_earlier(review, question, options)}
    order = sorted(texts, key=lambda text: (-len(asked & _words(text)), stable_hash(text)))
    return list(dict.fromkeys(map(_cut, order)))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))


def _cut(text: str) -> str:
    if len(text) <= _MAX_SNIPPET_CHARACTERS:
        return text
    return text[:_MAX_SNIPPET_CHARACTERS].rsplit(" ", 1)[0] + " ..."
