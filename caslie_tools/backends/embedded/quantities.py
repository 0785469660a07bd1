"""Numbers with units in plain text. They must match exactly, which embeddings cannot guarantee."""

import re
from dataclasses import dataclass
from typing import Final

# From a unit to its dimension and its factor to the base unit: ml, g, mm, m², s, W, V, mAh, Wh, kcal, lm, Hz, dB, rpm,
# bar, Nm, km/h, MB, Mbit/s, °C, % or items.
_UNITS: Final[dict[str, tuple[str, float]]] = {
    "ml": ("volume", 1), "cl": ("volume", 10), "dl": ("volume", 100), "l": ("volume", 1000),
    "litre": ("volume", 1000), "liter": ("volume", 1000), "litres": ("volume", 1000), "liters": ("volume", 1000),
    "litros": ("volume", 1000),
    "mg": ("mass", 0.001), "g": ("mass", 1), "gram": ("mass", 1), "grams": ("mass", 1), "gramm": ("mass", 1),
    "kg": ("mass", 1000), "kilo": ("mass", 1000), "kilos": ("mass", 1000), "kilogram": ("mass", 1000),
    "kilograms": ("mass", 1000), "oz": ("mass", 28.35), "lb": ("mass", 453.6), "lbs": ("mass", 453.6),
    "mm": ("length", 1), "cm": ("length", 10), "m": ("length", 1000), "km": ("length", 1e6),
    "metre": ("length", 1000), "metres": ("length", 1000), "meter": ("length", 1000), "meters": ("length", 1000),
    "inch": ("length", 25.4), "inches": ("length", 25.4), "ft": ("length", 304.8), "feet": ("length", 304.8),
    "m²": ("area", 1), "m2": ("area", 1), "cm²": ("area", 0.0001),
    "w": ("power", 1), "watt": ("power", 1), "watts": ("power", 1), "kw": ("power", 1000),
    "v": ("voltage", 1), "volt": ("voltage", 1), "volts": ("voltage", 1),
    "mah": ("charge", 1), "ah": ("charge", 1000), "wh": ("energy", 1), "kwh": ("energy", 1000),
    "kcal": ("nutrition", 1), "calories": ("nutrition", 1), "kj": ("nutrition", 0.239),
    "lumen": ("light", 1), "lumens": ("light", 1), "lm": ("light", 1), "lux": ("light", 1),
    "hz": ("frequency", 1), "khz": ("frequency", 1e3), "mhz": ("frequency", 1e6), "ghz": ("frequency", 1e9),
    "db": ("sound", 1), "decibels": ("sound", 1), "rpm": ("rotation", 1), "bar": ("pressure", 1),
    "nm": ("torque", 1), "fps": ("frame rate", 1), "frames per second": ("frame rate", 1),
    "km/h": ("speed", 1), "mph": ("speed", 1.609),
    "mb": ("data", 1), "gb": ("data", 1000), "tb": ("data", 1e6),
    "mb/s": ("data_rate", 8), "gb/s": ("data_rate", 8000), "mbit/s": ("data_rate", 1), "gbit/s": ("data_rate", 1000),
    "h": ("time", 3600), "hour": ("time", 3600), "hours": ("time", 3600), "min": ("time", 60), "minutes": ("time", 60),
    "s": ("time", 1), "day": ("time", 86400), "days": ("time", 86400), "week": ("time", 604800),
    "weeks": ("time", 604800), "month": ("time", 2629800), "months": ("time", 2629800), "year": ("time", 31557600),
    "years": ("time", 31557600), "stunden": ("time", 3600), "tage": ("time", 86400), "tagen": ("time", 86400),
    "monate": ("time", 2629800), "jahre": ("time", 31557600), "heures": ("time", 3600), "jours": ("time", 86400),
    "mois": ("time", 2629800), "ans": ("time", 31557600), "horas": ("time", 3600), "días": ("time", 86400),
    "meses": ("time", 2629800), "años": ("time", 31557600), "timmar": ("time", 3600), "dagar": ("time", 86400),
    "månader": ("time", 2629800), "år": ("time", 31557600),
    "°c": ("temperature", 1), "° c": ("temperature", 1), "°": ("temperature", 1), "degrees": ("temperature", 1),
    "°f": ("fahrenheit", 1),
    "%": ("share", 1), "percent": ("share", 1), "prozent": ("share", 1),
    "bags": ("count", 1), "pieces": ("count", 1), "pcs": ("count", 1), "pack": ("count", 1), "tablets": ("count", 1),
    "capsules": ("count", 1), "softgels": ("count", 1), "sachets": ("count", 1), "pairs": ("count", 1),
    "stück": ("count", 1), "kapseln": ("count", 1), "tabletten": ("count", 1), "beutel": ("count", 1),
    "gélules": ("count", 1), "comprimés": ("count", 1), "pièces": ("count", 1), "piezas": ("count", 1),
    "cápsulas": ("count", 1), "kapslar": ("count", 1), "tabletter": ("count", 1),
}  # fmt: skip

_QUANTITY: Final = re.compile(
    r"(?<![\w.,])([1-9]\d{0,2}(?:,\d{3})+|\d+(?:[.,]\d+)?)(?:\s*|-)("
    + "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
    + r")(?:(?<=[%°])|(?!\w))",
    re.IGNORECASE,
)
UNIT_DIMENSIONS: Final = {unit: dimension for unit, (dimension, _) in _UNITS.items()}
"""From a unit in lower case to its dimension, such as ``"volume"`` for ``"ml"``."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number with a unit."""

    value: float
    """In the base unit of its dimension."""
    dimension: str
    text: str
    """As written in the text."""

    def same(self, other: "Quantity") -> bool:
        """Whether both quantities are equal, also in different units: 0.75 l equals 750 ml, 500 ml does not."""
        close = abs(self.value - other.value) <= 1e-6 * max(abs(self.value), abs(other.value), 1e-12)
        return self.dimension == other.dimension and close


def quantities(text: str) -> tuple[Quantity, ...]:
    """Returns the numbers with a unit in a text, in the order of the text."""
    found = []
    for match in _QUANTITY.finditer(text):
        dimension, factor = _UNITS[match[2].lower()]
        found.append(Quantity(value=number(match[1]) * factor, dimension=dimension, text=match[0]))
    return tuple(found)


def number(text: str) -> float:
    """Returns the value of a number: ``1.5`` and ``1,5`` are equal, and ``10,000`` is ten thousand."""
    if re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+", text):
        return float(text.replace(",", ""))
    return float(text.replace(",", "."))


def without_quantities(text: str) -> str:
    """Returns a text with a space in place of each quantity."""
    return _QUANTITY.sub(" ", text)


def contradicts(question: str, text: str) -> bool:
    """Whether a question names a quantity and the text has only other quantities of the same dimension.

    For example, a text with 500 ml contradicts a question about 750 ml.
    """
    for asked in quantities(question):
        same_dimension = [found for found in quantities(text) if found.dimension == asked.dimension]
        if same_dimension and not any(asked.same(found) for found in same_dimension):
            return True
    return False
