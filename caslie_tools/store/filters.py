"""Product filters: from a dictionary or a line of SQL-like text to a safe condition.

Two spellings of one thing::

    {"price": {"$lt": 50}, "brand": "Fjord"}
    "price < 50 and brand = 'Fjord'"

Names are a product's fields (``id``, ``title``, ``description``, ``category``, ``price``, ``brand``) and its free
attributes; for plain LangChain documents the top-level keys of their metadata.

As in SQL, a comparison is only true or false of a value that is there and of the same type (number, text or truth
value). Where it is missing or of another type the comparison holds neither as written nor negated; ``$exists`` alone
asks for missing values. ``$like`` knows ``%`` and ``_`` and ignores the case of ASCII letters; other comparisons of
text are exact.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from caslie_tools.domain import Product
from caslie_tools.exceptions import FilterError

Where: TypeAlias = Mapping[str, Any] | str | None
"""A filter in either spelling; ``None``, an empty mapping or a blank text let everything pass."""

PRODUCT_FIELDS: Final = {
    "id": "text",
    "title": "text",
    "description": "text",
    "category": "text",
    "price": "number",
    "brand": "text",
}
"""A product's own fields and their types; any other name is an attribute."""

_COMPARISONS: Final = {"$eq": "=", "$ne": "<>", "$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}
_OPPOSITES: Final = {"$eq": "$ne", "$lt": "$gte", "$lte": "$gt"} | {"$ne": "$eq", "$gte": "$lt", "$gt": "$lte"}
_OPERATORS: Final = (*_COMPARISONS, "$in", "$nin", "$like", "$between", "$exists")
_ALL: Final = "SELECT id AS entry FROM entries WHERE kind IN ('product', 'document')"
_MAX_CONDITIONS: Final = 100
_MAX_DEPTH: Final = 30
_MAX_TEXT: Final = 1_000


@dataclass(frozen=True)
class Condition:
    """A query for the entries, of products and plain documents, for which a filter holds."""

    sql: str
    """Fixed text with placeholders, of the one column ``entry``: no part of a filter ever becomes part of it."""
    parameters: tuple[str | int | float, ...] = ()


def compile_filter(where: Where, *, products_only: bool = False) -> Condition | None:
    """Turns a filter into a condition on entries of products and plain documents.

    Args:
        where: The filter.
        products_only: Also refuse comparing a product's own field with a value of another type, which could never hold.

    Returns:
        The condition, or ``None`` if everything passes.

    Raises:
        FilterError: The filter cannot be understood; the message names the part and what is supported.
    """
    if isinstance(where, str):
        from caslie_tools.store.filter_text import parse_filter

        where = parse_filter(where) if where.strip() else None
    if where is None or where == {}:
        return None
    return _complete(_Compiler(products_only).mapping(where, negated=False, depth=0))


def product_facts(product: Product) -> Iterator[tuple[str, str, str | int | float]]:
    """Yields what filters compare of a product, as (name, type, value). An empty field counts as missing."""
    fields = {name: getattr(product, name) for name in PRODUCT_FIELDS}
    yield from metadata_facts(
        product.attributes | {name: value for name, value in fields.items() if value not in (None, "")}
    )


def metadata_facts(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str, str | int | float]]:
    """Yields what filters compare of a plain document's metadata, as (name, type, value).

    Numbers, texts and truth values can be compared; of anything else only that it is there.
    """
    for name, value in metadata.items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        yield (name, *(_typed(value) or ("other", "")))


def _typed(value: object) -> tuple[str, str | int | float] | None:
    if isinstance(value, bool):
        return "truth value", int(value)
    if isinstance(value, int):
        # SQLite's integers have 64 bits.
        return "number", value if -(2**63) <= value < 2**63 else _as_float(value)
    if isinstance(value, float):
        return "number", float(value)
    return ("text", str(value)) if isinstance(value, str) else None


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


@dataclass(frozen=True)
class _Part:
    """A query for a part of a filter, with the subqueries that it names."""

    sql: str
    parameters: tuple[str | int | float, ...] = ()
    compound: bool = False
    """Whether it consists of several queries, so that another can only join it by a name."""
    named: tuple[Condition, ...] = ()


class _Compiler:
    def __init__(self, products_only: bool) -> None:
        self._products_only = products_only
        self._conditions = 0
        self._names = 0

    def mapping(self, where: object, *, negated: bool, depth: int) -> _Part:
        if depth > _MAX_DEPTH:
            raise FilterError(f"the filter is nested more than {_MAX_DEPTH} deep: simplify it")
        if not isinstance(where, Mapping) or not where:
            raise FilterError(f"a filter is a text or a mapping of names to conditions, not {_shown(where)}")
        parts = [self._part(name, value, negated, depth) for name, value in where.items()]
        return self._joined(parts, "UNION" if negated else "INTERSECT")

    def _part(self, name: object, value: object, negated: bool, depth: int) -> _Part:
        if not isinstance(name, str) or not name:
            raise FilterError(f"a filter names a product's field or attribute, not {_shown(name)}")
        if name == "$not":
            return self.mapping(value, negated=not negated, depth=depth + 1)
        if name in ("$and", "$or"):
            if not isinstance(value, Sequence) or isinstance(value, str) or not value:
                raise FilterError(f"{name} takes a list of filters, not {_shown(value)}")
            parts = [self.mapping(part, negated=negated, depth=depth + 1) for part in value]
            return self._joined(parts, "INTERSECT" if (name == "$and") is not negated else "UNION")
        if name.startswith("$"):
            raise FilterError(
                f"unknown operator {_shown(name)} (supported: $and, $or, $not; after a name {', '.join(_OPERATORS)})"
            )
        if not isinstance(value, Mapping):
            return self._leaf(name, "$eq", value, negated)
        if not value:
            raise FilterError(f"no condition is given for {_shown(name)}")
        return self._joined(
            [self._leaf(name, *item, negated) for item in value.items()], "UNION" if negated else "INTERSECT"
        )

    def _leaf(self, name: str, operator: object, value: object, negated: bool) -> _Part:
        self._conditions += 1
        if self._conditions > _MAX_CONDITIONS:
            raise FilterError(f"the filter has more than {_MAX_CONDITIONS} conditions: use $in for a list of values")
        if operator in _COMPARISONS:
            assert isinstance(operator, str)  # noqa: S101 (a key of the table above, restated for the type checker)
            kind, operand = self._operand(name, operator, value)
            if kind == "truth value" and operator not in ("$eq", "$ne"):
                raise FilterError(f"{_shown(name)}: truth values are compared with $eq and $ne, not {operator}")
            symbol = _COMPARISONS[_OPPOSITES[operator] if negated else operator]
            return _fact(name, f"type = ? AND value {symbol} ?", kind, operand)
        if operator in ("$in", "$nin"):
            return self._membership(name, str(operator), value, negated)
        if operator == "$like":
            kind, operand = self._operand(name, operator, value)
            if kind != "text" or len(str(operand)) > _MAX_TEXT:
                raise FilterError(f"{_shown(name)}: $like takes a text of at most {_MAX_TEXT} characters")
            return _fact(name, f"type = 'text' AND value {'NOT ' * negated}LIKE ?", operand)
        if operator == "$between":
            return self._range(name, value, negated)
        if operator == "$exists":
            if not isinstance(value, bool):
                raise FilterError(f"{_shown(name)}: $exists takes true or false, not {_shown(value)}")
            there = _fact(name, "1")
            if value is not negated:
                return there
            return _Part(f"{_ALL} EXCEPT {there.sql}", there.parameters, compound=True)
        raise FilterError(f"{_shown(name)}: unknown operator {_shown(operator)} (supported: {', '.join(_OPERATORS)})")

    def _membership(self, name: str, operator: str, value: object, negated: bool) -> _Part:
        if isinstance(value, str | Mapping) or not isinstance(value, Sequence | set | frozenset | tuple):
            raise FilterError(f"{_shown(name)}: {operator} takes a list of values, not {_shown(value)}")
        if len(value) > _MAX_TEXT:
            raise FilterError(f"{_shown(name)}: {operator} takes at most {_MAX_TEXT} values")
        inside = (operator == "$in") is not negated
        by_kind: dict[str, list[str | int | float]] = {}
        for item in value:
            kind, operand = self._operand(name, operator, item)
            by_kind.setdefault(kind, []).append(operand)
        if not by_kind:  # nothing is in an empty list, and every value there is outside of it
            return _Part("SELECT 0 AS entry WHERE 0") if inside else _fact(name, "1")
        parts = [
            _fact(
                name, f"type = ? AND value {'' if inside else 'NOT '}IN ({', '.join('?' * len(group))})", kind, *group
            )
            for kind, group in by_kind.items()
        ]
        return self._joined(parts, "UNION")

    def _range(self, name: str, value: object, negated: bool) -> _Part:
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
            raise FilterError(f"{_shown(name)}: $between takes a list of two values, not {_shown(value)}")
        (low_kind, low), (high_kind, high) = (self._operand(name, "$between", bound) for bound in value)
        if low_kind != high_kind or low_kind == "truth value":
            raise FilterError(f"{_shown(name)}: $between takes two numbers or two texts")
        return _fact(name, f"type = ? AND value {'NOT ' * negated}BETWEEN ? AND ?", low_kind, low, high)

    def _joined(self, parts: Sequence[_Part], operator: str) -> _Part:
        if len(parts) == 1:
            return parts[0]
        # SQLite has no parentheses around compound queries, and nested ones overflow its parser: each gets a name.
        queries: list[str] = []
        parameters: list[str | int | float] = []
        named: list[Condition] = []
        for part in parts:
            named += part.named
            if part.compound:
                self._names += 1
                named.append(Condition(f"part{self._names} AS ({part.sql})", part.parameters))
                queries.append(f"SELECT entry FROM part{self._names}")  # noqa: S608 (a number)
            else:
                queries.append(part.sql)
                parameters += part.parameters
        return _Part(f" {operator} ".join(queries), tuple(parameters), compound=True, named=tuple(named))

    def _operand(self, name: str, operator: object, value: object) -> tuple[str, str | int | float]:
        typed = _typed(value)
        if typed is None or typed[1] != typed[1]:  # only NaN differs from itself
            raise FilterError(
                f"{_shown(name)}: {operator} compares with a number, a text or a truth value, not {_shown(value)}"
            )
        try:
            str(typed[1]).encode()
        except UnicodeEncodeError as error:
            raise FilterError(f"{_shown(name)}: the text to compare with is not valid Unicode") from error
        expected = PRODUCT_FIELDS.get(name)
        if self._products_only and expected not in (None, typed[0]):
            raise FilterError(f"{name} is a {expected}: it cannot be compared with {_shown(value)}, a {typed[0]}")
        return typed


def _fact(name: str, test: str, *parameters: str | int | float) -> _Part:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise FilterError(f"the name {name!a} is not valid Unicode") from error
    # `test` is one of the fixed texts above.
    return _Part(f"SELECT entry FROM facts WHERE name = ? AND {test}", (name, *parameters))  # noqa: S608


def _complete(part: _Part) -> Condition:
    named = f"WITH {', '.join(query.sql for query in part.named)} " if part.named else ""
    parameters = tuple(value for query in part.named for value in query.parameters)
    return Condition(f"{named}{part.sql}", (*parameters, *part.parameters))


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
