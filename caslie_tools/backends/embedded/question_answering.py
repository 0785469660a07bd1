"""Answers open questions from what is stated of the products, or says that nothing states the answer.

Each answer is short: a fact, or the names of products. It contains no generated text, and instructions inside a
product's text have no effect. The citations contain the facts in full. The steps are in
:mod:`~caslie_tools.backends.embedded.questions`: understand the question, collect the facts, choose or compute.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from caslie_tools.backends.embedded.passage_support import support
from caslie_tools.backends.embedded.questions.aspects import Aspects, covers
from caslie_tools.backends.embedded.questions.attribute_answers import AttributeAnswers
from caslie_tools.backends.embedded.questions.claim_answers import answer_choice, answer_claim, protection_class
from caslie_tools.backends.embedded.questions.claims import contains_stem
from caslie_tools.backends.embedded.questions.facts import Fact, Found, ProductFacts, is_guess, product_facts
from caslie_tools.backends.embedded.questions.languages import WHOLE, no, subject_words, yes
from caslie_tools.backends.embedded.questions.selection import Match, asks_for_products, select
from caslie_tools.backends.embedded.questions.understanding import Question, understand
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.backends.embedded.words import content_words
from caslie_tools.domain import Answer, Citation
from caslie_tools.tasks import FusedInstance
from caslie_tools.tasks.evidence import evidence
from caslie_tools.tasks.product_qa import SHOPPERS_IMAGE

NOT_ANSWERED: Final = "The products' texts and images do not answer this."
"""The answer if nothing states it."""

_PICTURED: Final = re.compile(r"\b(?:picture|image|photo|shown?|see|bild\w*|foto\w*|imagen)\b", re.IGNORECASE)
_MAX_PRODUCTS: Final = 5
"""Number of products that an answer names."""
_MAX_NAMED: Final = 2
"""Number of products that a question about one product may mean, each with its own answer."""
_MAX_LINES: Final = 5
"""Number of printed lines that an answer quotes."""


class QuestionAnswerer:
    """Answers open questions from facts.

    Args:
        embeddings: Compares words with names of products and columns.
    """

    def __init__(self, embeddings: MiniLMEmbeddings) -> None:
        self.embeddings = embeddings
        self.aspects = Aspects(embeddings)
        self.attributes = AttributeAnswers(self.aspects)

    def answer(self, instance: FusedInstance) -> Answer:
        """Answers a question about products with citations, or with ``answerable=False``."""
        data = instance.input if isinstance(instance.input, Mapping) else {}
        text = str(data.get("question", "")) or instance.instruction
        products = _collect(instance)
        if not text.strip() or not any(product.facts for product in products):
            return _REFUSED
        question = understand(text)
        if question.selects and len(products) > 1 and asks_for_products(question, products):
            return _selected(question, select(question, products))
        if question.form == "exists":
            return _selected(question, select(question, products))
        answers = [self._about(question, product) for product in _meant(question, products)]
        given = [answer for answer in answers if answer.answerable]
        return _joined(given) if given else _REFUSED

    def support(self, question: str, text: str) -> float:
        """Returns how well a text answers a question. The range is about 0 to 1."""
        return support(self.embeddings, question, text)

    def _about(self, question: Question, product: ProductFacts) -> Answer:
        """Answers a question about one product."""
        if question.form == "reason":  # a fact is no reason
            return _REFUSED
        if question.form == "claim":
            return self._claim(question, product)
        if question.form == "choice":
            fact = answer_choice(question, product)
            return _stating(product, [] if fact is None else [Found(fact=fact, value=fact.value)])
        if question.form == "printed":
            return self._printed(question, product)
        if question.form == "picture":
            return _picture(question, product)
        if question.form == "amount":
            return _stating(product, self.attributes.amount(question, product)[:1])
        found = self.attributes.attribute(question, product) if question.attributes else []
        if not found and question.amount_of:
            found = self.attributes.amount(question, product)
        if not found and not question.attributes:
            found = self.attributes.other(question, product)
        return _stating(product, found[:1])

    def _claim(self, question: Question, product: ProductFacts) -> Answer:
        verdict, fact = answer_claim(question, product)
        if fact is None:
            fact = protection_class(question, product)
        if fact is None:
            return _REFUSED
        word = {"yes": yes(question.language), "no": no(question.language)}.get(verdict, "")
        return _stating(product, [Found(fact=fact, value=fact.value)], prefix=word)

    def _printed(self, question: Question, product: ProductFacts) -> Answer:
        labels = product.of("label")
        words = self.aspects.of(question, product)
        if words:  # a place on the product is no word of the print, so all lines answer unless one has the words
            labels = [fact for fact in labels if covers(fact, words)] or labels
        lines = list({fact.citation.quote.casefold(): fact for fact in labels}.values())[:_MAX_LINES]
        if not lines:
            return _REFUSED
        found = Found(fact=lines[0], value=", ".join(fact.value for fact in lines))
        return _stating(product, [found], others=lines[1:])


_REFUSED: Final = Answer(text=NOT_ANSWERED, answerable=False)


def _collect(instance: FusedInstance) -> list[ProductFacts]:
    """Returns the facts of each product. An input without products is treated as one product."""
    data = instance.input if isinstance(instance.input, Mapping) else {}
    listed = data.get("products", [data])
    records = [record for record in (listed if isinstance(listed, list) else []) if isinstance(record, Mapping)]
    sources = evidence(instance)
    ids = [str(record.get("id", "")) for record in records]
    owned: list[list[Citation]] = [[] for _ in records]
    for source in sources:
        if (source.product or "") in ids:
            owned[ids.index(source.product or "")].append(source)
        elif len(records) == 1:
            owned[0].append(source)
    return [
        product_facts(index, {name: value for name, value in record.items() if name != "question"}, own)
        for index, (record, own) in enumerate(zip(records, owned, strict=True))
    ]


def _meant(question: Question, products: Sequence[ProductFacts]) -> list[ProductFacts]:
    """Returns the products that a question is about, none if that is unclear."""
    if len(products) == 1:
        return list(products)
    asked = content_words(question.text)
    whole = {
        product.index: len(words)
        for product in products
        if len(words := content_words(product.title)) > 1 and words <= asked
    }
    if whole:
        return [products[index] for index, size in whole.items() if size == max(whole.values())][:_MAX_NAMED]
    subjects = [word for word in subject_words(question.text) if word not in WHOLE]
    counts = [sum(any(contains_stem(word, own) for own in product.words) for word in subjects) for product in products]
    named = [product for product, count in zip(products, counts, strict=True) if count == max(counts) and count > 0]
    if not named:  # the shopper's own picture is what a question without a name is about
        return [product for product in products if product.id == SHOPPERS_IMAGE]
    return named if len(named) <= _MAX_NAMED else []


def _picture(question: Question, product: ProductFacts) -> Answer:
    """Says what a product is, or what its picture shows."""
    shown = bool(_PICTURED.search(question.text))
    name = next((fact for fact in product.facts if fact.citation.quote == product.title), None)
    kind = next((fact for fact in product.facts if fact.kind == "field" and fact.field == "category"), None)
    wanted = kind if re.search(r"\b(?:kind|sort|type)\b", question.text, re.IGNORECASE) else name
    if not shown and (fact := wanted or name):
        return _stating(product, [Found(fact=fact, value=fact.citation.quote)])
    seen = [fact for fact in product.of("seen") if not fact.citation.quote.startswith("It may show")]
    sure = [fact for fact in seen if not is_guess(fact)]
    # The print says better than the colours what a thing is.
    facts = ((sure + product.of("label") if shown else product.of("label")) or seen)[:_MAX_NAMED]
    if not facts:
        return _REFUSED
    value = " ".join(dict.fromkeys(_with_full_stop(fact.value) for fact in facts))
    return _stating(product, [Found(fact=facts[0], value=value)], others=facts[1:])


def _stating(product: ProductFacts, found: Sequence[Found], *, prefix: str = "", others: Sequence[Fact] = ()) -> Answer:
    """Phrases facts about one product: its name and the facts."""
    if not found:
        return _REFUSED
    values = " ".join(dict.fromkeys(_with_full_stop(item.value) for item in found))
    # A title that is the fact itself is said once.
    text = values if found[0].value == product.name else f"{product.name}: {values}"
    citations = [item.fact.citation for item in found] + [fact.citation for fact in others]
    return Answer(text=f"{prefix}. {text}" if prefix else text, citations=tuple(citations), answerable=True)


def _selected(question: Question, matches: Sequence[Match]) -> Answer:
    """Phrases the products that fit a question: one with the fact that shows it, several by their names."""
    if not matches:
        return _REFUSED
    shown = matches[:_MAX_PRODUCTS]
    prefix = f"{yes(question.language)}. " if question.form == "exists" else ""
    citations = []
    for match in shown:
        title = [fact for fact in match.product.facts if fact.citation.quote == match.product.title]
        citations += [fact.citation for fact in (*match.facts, *title[:1])]
    names = [match.product.name for match in shown]
    deciding = [fact for fact in shown[0].facts if fact.field != "title"]
    if len(shown) == 1 and deciding:
        return _answer(f"{prefix}{names[0]}: {_with_full_stop(deciding[0].value)}", citations)
    return _answer(prefix + _with_full_stop(", ".join(names)), citations)


def _answer(text: str, citations: Sequence[Citation]) -> Answer:
    return Answer(text=" ".join(text.split()), citations=tuple(citations), answerable=True)


def _joined(answers: Sequence[Answer]) -> Answer:
    text = " ".join(dict.fromkeys(answer.text for answer in answers))
    return _answer(text, [citation for answer in answers for citation in answer.citations])


def _with_full_stop(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?", '."', '!"', '?"')) else f"{sentence}."
