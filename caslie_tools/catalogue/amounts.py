# ruff: noqa: RUF001, RUF002 (the characters that people write)
"""Reads numbers and prices as people of different countries write them: ``1.234,50 €``, ``$1,234.50``, ``1 234,50 zł``.

A single separator before three digits, as in ``1.234``, has two meanings. It is read by the other values of its column.
"""

import re
import unicodedata
from collections import Counter
from typing import Final, Literal, NamedTuple, TypeAlias

DecimalMark: TypeAlias = Literal[".", ",", "?", ""]
"""The decimal mark of a column. ``?``: its values contradict each other. Empty: its values allow both marks."""

_BODY: Final = r"(?:(?<!\w)[.,])?[0-9](?:[0-9.,'’ ]*[0-9])?"
_NUMBER: Final = re.compile(rf"(?P<sign>-?) ?(?P<body>{_BODY})")
_PRICE: Final = re.compile(rf"(?P<before>[^0-9-]*?) ?(?P<number>-? ?{_BODY})(?:[.,][-–—]{{1,2}})? ?(?P<after>[^0-9]*)")
_WHOLE: Final = re.compile(r"[0-9]*|[0-9]{1,3}(?P<separator>[.,'’ ])[0-9]{3}(?:(?P=separator)[0-9]{3})*")
_MAX_LENGTH: Final = 60

_CODES: Final = frozenset(
    re.findall(
        "[A-Z]{3}",
        """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
    CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
    HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN
    PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TND TOP TRY TTD
    TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
        """,
    )
)
"""The codes of ISO 4217."""
_ABBREVIATIONS: Final = {
    "dh": "MAD", "din": "RSD", "fr": "CHF", "ft": "HUF", "km": "BAM", "kr": "kr", "kč": "CZK", "lei": "RON",
    "rm": "MYR", "rp": "IDR", "rs": "INR", "sfr": "CHF", "tl": "TRY", "zł": "PLN", "zl": "PLN", "грн": "UAH",
    "ден": "MKD", "лв": "BGN", "р": "RUB", "руб": "RUB", "тг": "KZT", "円": "JPY", "元": "CNY", "원": "KRW",
}  # fmt: skip
"""What is written beside prices in place of a code."""
_SIGNS: Final = {"€": "EUR", "£": "GBP", "US$": "USD", "₺": "TRY", "₽": "RUB", "₹": "INR", "R$": "BRL"}


class Price(NamedTuple):
    """A price: the amount, and the currency if one is written."""

    amount: float
    currency: str
    """A code of ISO 4217 or a sign; empty if none is written."""


class DecimalEvidence:
    """Collects what the numbers of a column say about its decimal mark."""

    def __init__(self) -> None:
        self.ambiguous: Counter[str] = Counter()
        """How many numbers have two meanings, by their separator."""
        self._marks: Counter[str] = Counter()

    def add(self, text: str) -> bool:
        """Adds a value; returns whether it is a number."""
        found = _NUMBER.fullmatch(_normal(text)) if len(text) <= _MAX_LENGTH else None
        if found is None:
            return False
        mark = _own_mark(found["body"])
        if mark == "?":
            self.ambiguous["." if "." in text else ","] += 1
        elif mark:
            self._marks[mark] += 1
        return True

    @property
    def mark(self) -> DecimalMark:
        """The decimal mark that the unambiguous numbers have."""
        if len(self._marks) == 2:
            return "?"
        return "," if self._marks[","] else "." if self._marks["."] else ""


def parse_number(text: str, mark: DecimalMark) -> float | None:
    """Returns the value of a number, or ``None`` if the text is not a number.

    Args:
        text: The number, with or without separators between groups of three digits.
        mark: The decimal mark of its column. It is used only if the number alone allows two meanings.

    Raises:
        ValueError: If the number has two meanings, and the mark does not decide.
    """
    found = _NUMBER.fullmatch(_normal(text))
    if found is None:
        return None
    body = found["body"]
    own = _own_mark(body)
    if own == "?":
        if mark not in (".", ","):
            raise ValueError("can be read in two ways; set the decimal mark")
        own = mark
    whole, _, fraction = body.rpartition(own) if own and own in body else (body, "", "0")
    if not _WHOLE.fullmatch(whole) or not fraction.isdigit():
        return None
    return float(f"{found['sign']}{re.sub('[^0-9]', '', whole) or '0'}.{fraction}")


def parse_price(text: str, mark: DecimalMark) -> Price:
    """Returns a price.

    Args:
        text: The price, with or without a currency, such as ``1.234,50 €`` or ``CHF 12.–``.
        mark: The decimal mark of its column.

    Raises:
        ValueError: If the text is not exactly one price, or if it has two meanings and the mark does not decide.
    """
    number, currency = split_price(text)
    amount = parse_number(number, mark)
    if amount is None:
        raise ValueError("is not a price")
    if amount < 0:
        raise ValueError("is negative")
    return Price(amount, currency)


def split_price(text: str) -> tuple[str, str]:
    """Splits a price into its number and its currency.

    Raises:
        ValueError: If the text is not one number with an optional currency.
    """
    found = _PRICE.fullmatch(_normal(text)) if len(text) <= _MAX_LENGTH else None
    if found is None:
        raise ValueError("is not a price")
    named = {_currency(part) for part in (found["before"].strip(), found["after"].strip()) if part}
    if len(named) > 1 or None in named:
        raise ValueError("is not a price")
    return found["number"], next(iter(named)) or "" if named else ""


def _currency(text: str) -> str | None:
    if text.upper() in _CODES:
        return text.upper()
    if text in _SIGNS:
        return _SIGNS[text]
    if abbreviated := _ABBREVIATIONS.get(text.casefold().rstrip(".")):
        return abbreviated
    signs = [character for character in text if unicodedata.category(character) == "Sc"]
    letters = text.replace(signs[0], "", 1) if signs else ""
    return text if len(signs) == 1 and len(letters) <= 3 and (letters.isalpha() or not letters) else None


def _own_mark(body: str) -> DecimalMark:
    """Returns the decimal mark that a number shows by itself. ``?``: it can be read with either. Empty: it has none."""
    points, commas = body.count("."), body.count(",")
    if points and commas:
        return "," if body.rfind(",") > body.rfind(".") else "."
    if not points and not commas:
        return ""
    separator, other = (".", ",") if points else (",", ".")
    if points + commas > 1:
        return other  # type: ignore[return-value]  # "1.234.567": the separator of groups is not the decimal mark
    whole, _, fraction = body.partition(separator)
    grouped = len(fraction) == 3 and 1 <= len(whole) <= 3 and whole.isdigit() and not whole.startswith("0")
    return "?" if grouped else separator  # type: ignore[return-value]


def _normal(text: str) -> str:
    """Returns a text with simple spaces, minus signs and digits, as the patterns expect them."""
    wide = {character for character in text if unicodedata.east_asian_width(character) == "F"}
    for character in wide:
        text = text.replace(character, unicodedata.normalize("NFKC", character))
    return " ".join(text.replace("\u2212", "-").split())
