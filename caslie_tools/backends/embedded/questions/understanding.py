"""Understanding a question: its form, the attribute it asks for, its comparison, and the words that it is about."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from caslie_tools.backends.embedded.quantities import UNIT_DIMENSIONS, Quantity, quantities, without_quantities
from caslie_tools.backends.embedded.questions.attributes import Attribute, asked_attributes
from caslie_tools.backends.embedded.questions.claims import parse_absence
from caslie_tools.backends.embedded.questions.comparisons import (
    Bound,
    Extreme,
    find_bound,
    find_extreme,
    without_comparison,
)
from caslie_tools.backends.embedded.questions.languages import Language, language_of, subject_words
from caslie_tools.backends.embedded.words import colour_words, stem

Form: TypeAlias = Literal["reason", "printed", "exists", "claim", "choice", "amount", "attribute", "picture", "open"]
"""What is asked for: a reason, printed text, whether the shop has a product, whether a claim holds, one of two
alternatives, an amount of something, an attribute, what a picture shows, or anything else."""

_PRINTED: Final = re.compile(
    r"\b(?:printed|written|inscription|imprint|lettering|what (?:does|do) (?:the|its|"
    r"it) ?(?:\w+ )?(?:label|text|pack\w*|box|bottle|bag|carton|sign|front|back|tag)?\b.*\b(?:say|"
    r"read)s?|"
    r"(?:text|words?|letters) (?:is|are|on|can)|aufgedruckt|aufschrift|steht (?:auf|darauf|drauf)|"
    r"gedruckt|geschrieben|écrit|inscrit|imprimé|inscription|"
    r"escrito|impreso|pone (?:en|el|la)|står (?:det )?(?:på|skrivet)|tryckt|skrivet)\b",
    re.IGNORECASE,
)
_EXISTS: Final = re.compile(
    r"^\W*(?:(?:do|would|have) (?:you|u|we|they)(?: guys)? (?:have|sell|stock|carry|offer|got|"
    r"keep)|have you(?: got)?|is there|are there|"
    r"got|i(?:'m| am) looking for|(?:can|could) i (?:get|buy) (?:a|an|any|some)|(?:haben|führen|"
    r"verkaufen) sie|habt ihr|gibt es|hast du|(?:est-ce que )?vous (?:avez|vendez)|avez[- ]vous|"
    r"vendez[- ]vous|y a[- ]t[- ]il|est-ce qu'il y a|¿?(?:tienen|tenéis|tiene usted|venden|hay)|"
    r"har (?:ni|du)|säljer ni|finns det)\b",
    re.IGNORECASE,
)
_YES_NO: Final = re.compile(
    r"^\W*(?:is|are|was(?! (?:ist|sind|kost|wieg|hat|haben|steht|für|gibt|macht))|were|does|do|"
    r"did|can|could|will|would|has|have|should|may|must|isn't|aren't|doesn't|don't|ist|sind|hat|"
    r"haben|"
    r"kann|können|enthält|enthalten|darf|passt|braucht|läuft|est-ce|est|sont|a-t-\w+|contient|"
    r"contiennent|peut-on|puis-je|es|son|está|están|"
    r"tiene|contiene|se puede|puedo|är|har|kan|innehåller|får|finns)\b",
    re.IGNORECASE,
)
_SELECTS: Final = re.compile(
    r"^\W*(?:which|what|welche[rsnm]?|quel(?:le)?s?|lequel|laquelle|cuál(?:es)?|qué|vilk(?:en|et|"
    r"a))\b|\bwhich (?:one|product|of)|^\W*(?:show|list|find|name)\b",
    re.IGNORECASE,
)
_ASKS_VALUE: Final = re.compile(
    r"^\W*(?:what|which|quel(?:le)?s?|cuál|qué|was|wie|vad|vilk\w+|welche\w*)\s+(?:is|are|does|do|"
    r"was|were|est|sont|es|son|ist|sind|är|of)\b(?! (?:the|your|our|der|die|das|le|la|el|den|"
    r"det) (?:most|least|\w+est)\b)",
    re.IGNORECASE,
)
_PICTURE: Final = re.compile(
    r"\b(?:what (?:is|does|can).*\b(?:picture|image|photo|shown?|see)\b|(?:auf|"
    r"was zeigt).*\bbild\b|(?:montre|sur).*\b(?:image|photo)\b|"
    r"(?:muestra|en).*\b(?:imagen|foto)\b|(?:visar|på).*\b(?:bilden|fotot)\b|^\W*what (?:is|"
    r"are) (?:it|this|that|these|they|those)\W*$|what (?:kind|sort|type) of (?:product|thing|"
    r"item))",
    re.IGNORECASE,
)
_AMOUNT: Final = re.compile(
    r"\bhow (?:much|many) (?P<en>[^\W\d_]+)|\b(?:what percentage of|how (?:high|"
    r"much) is the) (?P<share>[^\W\d_]+)|\bwie viele? (?P<de>[^\W\d_]+)|"
    r"\bcombien (?:de |d')(?P<fr>[^\W\d_]+)|\bcuánt[oa]s? (?P<es>[^\W\d_]+)|\bhur m(?:ycket|ånga) (?P<sv>[^\W\d_]+)",
    re.IGNORECASE,
)
_NOT_AMOUNTS: Final = re.compile(
    r"is|are|do|does|did|was|were|can|will|would|should|it|of|wiegt|kostet|ist|sind|passt|fasst|cuesta|pesa|kostar|"
    r"väger|coûte|pèse"
)
"""Words after "how much" that are no thing."""
_INCLUSION: Final = re.compile(
    r"\b(?:come|comes|included|include|includes|supplied|delivered|enthalten|inbegriffen|dabei|"
    r"fourni|incluid[oa]s?|ingår|medföljer)\b",
    re.I,
)
_REASON: Final = re.compile(r"^\W*(?:why|warum|wieso|weshalb|pourquoi|por qué|varför)\b", re.IGNORECASE)
_CHOICE: Final = re.compile(r"\b(?:or|oder|ou|eller)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a question asks."""

    text: str
    language: Language
    form: Form
    selects: bool
    """Whether the answer may be the names of products: "which bottle ...", "do you have ..."."""
    attributes: tuple[Attribute, ...]
    """The attributes that it may ask for, the most special one first."""
    words: tuple[str, ...]
    """Stems of the words that it is about, in their order, without those of attributes and comparisons."""
    absent: str
    """A pattern of the substance that a product must not contain."""
    quantities: tuple[Quantity, ...]
    """Quantities that an answer must state, without those of limits."""
    colours: frozenset[str]
    amount_of: str
    """Stem of the thing whose amount or number is asked for."""
    unit: str
    """The dimension of the unit that is asked for: ``volume`` for "how many litres"."""
    inclusion: bool
    """Whether it asks what is included."""
    extreme: Extreme | None
    bound: Bound | None

    @property
    def attribute(self) -> Attribute | None:
        """The most special attribute."""
        return self.attributes[0] if self.attributes else None


@lru_cache(maxsize=256)
def understand(text: str) -> Question:
    """Returns what a question asks."""
    extreme, bound = find_extreme(text), find_bound(text)
    plain = without_comparison(text)
    absent, remainder = parse_absence(plain)
    attributes = asked_attributes(text)
    # Of the attributes that are not measured, only the first counts: "what colour is the plug" asks for no connector.
    asked = (*attributes[:1], *(attribute for attribute in attributes[1:] if attribute.dimensions))
    measured = {
        word for attribute in asked for match in attribute.asked.finditer(text) for word in subject_words(match[0])
    }
    amount = _AMOUNT.search(text)
    noun = next((group for group in amount.groupdict().values() if group), "").lower() if amount else ""
    unit = UNIT_DIMENSIONS.get(noun) or UNIT_DIMENSIONS.get(f"{noun}s", "")
    if unit == "count":  # "how many capsules" counts a thing
        unit = ""
    amount_of = "" if _NOT_AMOUNTS.fullmatch(noun) or unit else stem(noun)
    form = _form(text, attributes, amount_of)
    words = subject_words(remainder)
    if form not in ("claim", "exists", "choice"):
        words = tuple(word for word in words if word not in measured)
    return Question(
        text=text,
        language=language_of(text),
        form=form,
        selects=form == "exists" or bool(extreme) or bool(_SELECTS.search(text) and not _ASKS_VALUE.search(text)),
        attributes=attributes,
        words=tuple(word for word in words if word != amount_of or form in ("claim", "exists")),
        absent=absent,
        quantities=() if bound else quantities(text),
        colours=colour_words(without_quantities(text)),
        amount_of=amount_of,
        unit=unit,
        inclusion=bool(_INCLUSION.search(text)),
        extreme=extreme,
        bound=bound,
    )


def _form(text: str, attributes: tuple[Attribute, ...], amount_of: str) -> Form:
    if _REASON.search(text):
        return "reason"
    if _EXISTS.search(text):
        return "exists"
    if _YES_NO.search(text):
        return "choice" if _CHOICE.search(text) else "claim"
    if _PRINTED.search(text):
        return "printed"
    if attributes and not (amount_of and attributes[0].name in ("capacity", "size")):
        return "attribute"
    if _PICTURE.search(text):
        return "picture"
    return "amount" if amount_of else "open"
