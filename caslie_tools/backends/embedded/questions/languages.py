"""Small tables of words: enough to see what is asked in English, German, French, Spanish and Swedish.

The tables contain the words that questions are made of. They contain no vocabulary of products: a word of a product is
looked up in the product's own text, in whatever language that is.
"""

import re
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from caslie_tools.backends.embedded.quantities import without_quantities
from caslie_tools.backends.embedded.words import stem

Language: TypeAlias = Literal["en", "de", "fr", "es", "sv"]

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FUNCTION_WORDS: Final[dict[Language, frozenset[str]]] = {
    "en": _words(
        """a about all also am an and any are as at be been but by can could did do does each few for from get gets had
        has have he her here his how i if in into is it it's its just like made make makes many may me more most
        much must my need no not of off on one ones only or other our out over please she should show shows so some
        such tell than that the their them then there these they thing things this those to too us use used very
        want was we were what what's when where which who whose why will with without would you your under below
        above less least least between up yes often soon easily well old late far early"""
    ),
    "de": _words(
        """aber als am an auf aus bei bis das dem den der des die dieser diese dieses du ein eine einem einen einer er
        es für gibt habt haben hat hast ich ihr ihre im in ist kann können man mein mich mit nach nicht noch oder
        sein sich sie sind so um und unter über von vor war was welche welcher welches welchem welchen wer werden
        wie wird wo woher womit woraus wozu viel viele vieles mal zu zum zur euch wir"""
    ),
    "fr": _words(
        """à au aux avec avez ce ces cet cette combien comment dans de des du elle elles en est est-ce et il ils je la
        le les leur lui ma mais mes moi mon ne nous où ou par pas pour qu que quel quelle quelles quels qui quoi sa
        se ses son sont sur ta te tu beaucoup un une vient vos votre vous y a d'où s'il y-a-t c'est d'un d'une l'eau"""
    ),
    "es": _words(
        """a al como cómo con cuál cuáles cuándo cuánta cuántas cuánto cuántos de del dónde el ella en es esta este
        esto está están hay la las lo los me mi o para por qué que quién se son su sus tiene tienen tenéis un una
        unas unos y mucho mucha"""
    ),
    "sv": _words(
        """att av den denna har kan innehåller det detta de dem den där då en ett finns från för har hur hos i inte ja
        jag kan man med men mig mycket ni nu när och om på som till under ur var vad varifrån vem vilka vilken
        vilket är över många"""
    ),
}

_LIGHT_WORDS: Final = frozenset(
    map(
        stem,
        _words(
            """amount arrive be become belong bought buy call carry come contain content contents cost deliver do
            exactly fit give go good hold included keep kind know last look manufactured measure mean means name
            need level number percent percentage quantity rate total value offer own piece please possess produce
            produced product products item items article goods provide put require run said say sell sold sort state
            stated stock suit suitable support take type thing version want weigh work works got does still today
            currently maximum minimum approximately around roughly really actually once kostet kosten produkt
            produkte artikel passt enthält besteht steht produit produits article articles coûte contient producto
            productos cuesta contiene produkten produkter kostar innehåller"""
        ),
    )
)
"""Words that any product's question may contain. They do not say what is asked about the product."""

WHOLE: Final = frozenset(
    map(
        stem,
        _words(
            """bag bottle box bucket can carton cover front image item jar label pack package packet pack photo picture
            pouch product print text tin tube unit word bild flasche karton packung produkt bouteille boîte carton
            étiquette image photo produit botella caja etiqueta foto imagen producto bild flaska kartong paket
            etikett produkt"""
        ),
    )
)
"""Words for the product, its pack or its picture as a whole."""

PACKAGING: Final = frozenset(map(stem, _words("packaging wrapping verpackung emballage envase embalaje förpackning")))
"""Words for what is around the product, in contrast to the product."""

_YES: Final[dict[Language, str]] = {"en": "Yes", "de": "Ja", "fr": "Oui", "es": "Sí", "sv": "Ja"}
_NO: Final[dict[Language, str]] = {"en": "No", "de": "Nein", "fr": "Non", "es": "No", "sv": "Nej"}

NEGATORS: Final = _words(
    """not no non never without cannot can't don't isn't aren't doesn't unsuitable avoid nor neither nicht kein keine
    keinen keiner ohne nie weder pas sans jamais ni sin nunca ni inte ej utan ingen inget inga aldrig away"""
)
"""Words that turn a statement into its contrary."""

_FILLERS: Final = frozenset(word for words in _FUNCTION_WORDS.values() for word in words)


@lru_cache(maxsize=1024)
def language_of(text: str) -> Language:
    """Returns the language with most of the function words of a text, English if none has more."""
    words = [word.lower() for word in _WORD.findall(text)]
    counts = {language: sum(word in own for word in words) for language, own in _FUNCTION_WORDS.items()}
    return max(counts, key=lambda language: (counts[language], language == "en"))


def yes(language: Language) -> str:
    """Returns the word for yes."""
    return _YES[language]


def no(language: Language) -> str:
    """Returns the word for no."""
    return _NO[language]


def tokens(text: str) -> list[str]:
    """Returns the words of a text in lower case, in their order. ``gluten-free`` has two words."""
    return [word.lower().replace("\u2019", "'") for word in _WORD.findall(text)]


def is_function_word(word: str) -> bool:
    """Whether a word in lower case only joins other words, in any of the languages."""
    return word in _FILLERS


@lru_cache(maxsize=4096)
def subject_words(text: str) -> tuple[str, ...]:
    """Returns the stems of the words in a question that say what it is about, in their order, each once."""
    found = []
    for word in tokens(without_quantities(text)):
        elided = word.split("'", 1)[1] if re.match(r"[cdjlmnst]'\w", word) else word
        if elided in _FILLERS or len(elided) < 2 or stem(elided) in _LIGHT_WORDS:
            continue
        found.append(stem(elided))
    return tuple(dict.fromkeys(found))
