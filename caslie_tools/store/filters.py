"""Product filters: compiles a dictionary or an SQL-like text to a safe database query.

A filter has two forms::

    {"price": {"$lt": 50}, "brand": "Fjord"}
    "price < 50 and brand = 'Fjord'"

The names in a filter are the fields of a product (``id``, ``title``, ``description``, ``category``, ``price``,
``brand``) and its attributes. For plain LangChain documents, they are the top-level keys of the metadata.

Comparisons follow SQL. A comparison with a missing value, or with a value of another type (number, text or truth
value), is neither true nor false, so it does not match, and its negation does not match either. Only ``$exists`` tests
whether a value is missing. ``$like`` supports the wildcards ``%`` and ``_`` and ignores the case of ASCII letters. All
other comparisons of text are exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from caslie_tools.exceptions import FilterError
from caslie_tools.store.facts import PRODUCT_FIELDS, FactValue, typed_value

Where: TypeAlias = Mapping[str, Any] | str | None
"""A filter in either form. ``None``, an empty mapping and a blank text match everything."""

_COMPARISONS: Final = {"$eq": "=", "$ne": "<>", "$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}
_OPPOSITES: Final = {"$eq": "$ne", "$lt": "$gte", "$lte": "$gt"} | {"$ne": "$eq", "$gte": "$lt", "$gt": "$lte"}
_OPERATORS: Final = (*_COMPARISONS, "$in", "$nin", "$like", "$between", "$exists")
_ALL_ENTRIES: Final = "SELECT id AS entry FROM entries WHERE kind IN ('product', 'document')"
_MAX_CONDITIONS: Final = 100
_MAX_DEPTH: Final = 30
_MAX_LENGTH: Final = 1_000


@dataclass(frozen=True)
class Condition:
    """A query that selects the entries of products and plain documents that match a filter."""

    sql: str
    """A query with the single column ``entry``. It has placeholders; no text of a filter becomes part of it."""
    parameters: tuple[FactValue, ...] = ()
    attributes: frozenset[str] = frozenset()
    """The names in the filter that are not fields of a product."""


def compile_filter(where: Where, *, products_only: bool = False) -> Condition | None:
    """Compiles a filter.

    Args:
        where: The filter.
        products_only: Refuse a comparison of a product field with a value of another type, which can never match.

    Returns:
        The condition, or ``None`` if the filter matches everything.

    Raises:
        FilterError: If the filter is invalid. The message names the part and lists what is supported.
    """
    if isinstance(where, str):
        from caslie_tools.store.filter_parser import parse_filter  # imports sqlglot, which is slow

        where = parse_filter(where) if where.strip() else None
    if where is None or where == {}:
        return None
    compiler = _Compiler(products_only)
    return _complete(compiler.mapping(where, negated=False, depth=0), frozenset(compiler.attributes))


@dataclass(frozen=True)
class _Query:
    """A query for a part of a filter, with the subqueries that it refers to by name."""

    sql: str
    parameters: tuple[FactValue, ...] = ()
    compound: bool = False
    """Whether it combines several queries. A compound query needs a name before it can be combined again."""
    named: tuple[Condition, ...] = ()


class _Compiler:
    def __init__(self, products_only: bool) -> None:
        self.attributes: set[str] = set()
        self._products_only = products_only
        self._conditions = 0
        self._names = 0

    def mapping(self, where: object, *, negated: bool, depth: int) -> _Query:
        if depth > _MAX_DEPTH:
            raise FilterError(f"the filter has more than {_MAX_DEPTH} nested levels; simplify it")
        if not isinstance(where, Mapping) or not where:
            raise FilterError(f"a filter must be a text or a mapping of names to conditions, not {_shown(where)}")
        queries = [self._item(name, value, negated, depth) for name, value in where.items()]
        return self._combine(queries, "UNION" if negated else "INTERSECT")

    def _item(self, name: object, value: object, negated: bool, depth: int) -> _Query:
        if not isinstance(name, str) or not name:
            raise FilterError(f"the names in a filter must be product fields or attributes, not {_shown(name)}")
        if name == "$not":
            return self.mapping(value, negated=not negated, depth=depth + 1)
        if name in ("$and", "$or"):
            if not isinstance(value, Sequence) or isinstance(value, str) or not value:
                raise FilterError(f"{name} takes a list of filters, not {_shown(value)}")
            queries = [self.mapping(part, negated=negated, depth=depth + 1) for part in value]
            return self._combine(queries, "INTERSECT" if (name == "$and") is not negated else "UNION")
        if name.startswith("$"):
            raise FilterError(
                f"unknown operator {_shown(name)} (supported: $and, $or, $not; after a name {', '.join(_OPERATORS)})"
            )
        if not isinstance(value, Mapping):
            return self._comparison(name, "$eq", value, negated)
        if not value:
            raise FilterError(f"{_shown(name)} has no condition; add one such as {{'$eq': ...}}")
        return self._combine(
            [self._comparison(name, *item, negated) for item in value.items()], "UNION" if negated else "INTERSECT"
        )

    def _comparison(self, name: str, operator: object, value: object, negated: bool) -> _Query:
        self._conditions += 1
        if self._conditions > _MAX_CONDITIONS:
            raise FilterError(f"the filter has more than {_MAX_CONDITIONS} conditions; use $in for a list of values")
        if name not in PRODUCT_FIELDS:
            self.attributes.add(name)
        if operator in _COMPARISONS:
            assert isinstance(operator, str)  # noqa: S101 (for the type checker; the keys of the table are texts)
            kind, operand = self._operand(name, operator, value)
            if kind == "truth value" and operator not in ("$eq", "$ne"):
                raise FilterError(f"{_shown(name)}: truth values can be compared with $eq and $ne, not with {operator}")
            symbol = _COMPARISONS[_OPPOSITES[operator] if negated else operator]
            return _fact_query(name, f"type = ? AND value {symbol} ?", kind, operand)
        if operator in ("$in", "$nin"):
            return self._membership(name, str(operator), value, negated)
        if operator == "$like":
            kind, operand = self._operand(name, operator, value)
            if kind != "text" or len(str(operand)) > _MAX_LENGTH:
                raise FilterError(f"{_shown(name)}: $like takes a text of at most {_MAX_LENGTH} characters")
            return _fact_query(name, f"type = 'text' AND value {'NOT ' * negated}LIKE ?", operand)
        if operator == "$between":
            return self._range(name, value, negated)
        if operator == "$exists":
            if not isinstance(value, bool):
                raise FilterError(f"{_shown(name)}: $exists takes true or false, not {_shown(value)}")
            existing = _fact_query(name, "1")
            if value is not negated:
                return existing
            return _Query(f"{_ALL_ENTRIES} EXCEPT {existing.sql}", existing.parameters, compound=True)
        raise FilterError(f"{_shown(name)}: unknown operator {_shown(operator)} (supported: {', '.join(_OPERATORS)})")

    def _membership(self, name: str, operator: str, value: object, negated: bool) -> _Query:
        if isinstance(value, str | Mapping) or not isinstance(value, Sequence | set | frozenset | tuple):
            raise FilterError(f"{_shown(name)}: {operator} takes a list of values, not {_shown(value)}")
        if len(value) > _MAX_LENGTH:
            raise FilterError(f"{_shown(name)}: {operator} takes at most {_MAX_LENGTH} values")
        inside = (operator == "$in") is not negated
        by_kind: dict[str, list[FactValue]] = {}
        for item in value:
            kind, operand = self._operand(name, operator, item)
            by_kind.setdefault(kind, []).append(operand)
        if not by_kind:  # no value is in an empty list, and every existing value is outside it
            return _Query("SELECT 0 AS entry WHERE 0") if inside else _fact_query(name, "1")
        queries = [
            _fact_query(
                name, f"type = ? AND value {'' if inside else 'NOT '}IN ({', '.join('?' * len(group))})", kind, *group
            )
            for kind, group in by_kind.items()
        ]
        return self._combine(queries, "UNION")

    def _range(self, name: str, value: object, negated: bool) -> _Query:
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
            raise FilterError(f"{_shown(name)}: $between takes a list of two values, not {_shown(value)}")
        (low_kind, low), (high_kind, high) = (self._operand(name, "$between", bound) for bound in value)
        if low_kind != high_kind or low_kind == "truth value":
            raise FilterError(f"{_shown(name)}: $between takes two numbers or two texts")
        return _fact_query(name, f"type = ? AND value {'NOT ' * negated}BETWEEN ? AND ?", low_kind, low, high)

    def _combine(self, queries: Sequence[_Query], operator: str) -> _Query:
        if len(queries) == 1:
            return queries[0]
        # SQLite has no parentheses around compound queries, and deeply nested subqueries overflow its parser. So each
        # compound query gets a name in the WITH clause.
        parts: list[str] = []
        parameters: list[FactValue] = []
        named: list[Condition] = []
        for query in queries:
            named += query.named
            if query.compound:
                self._names += 1
                named.append(Condition(f"part{self._names} AS ({query.sql})", query.parameters))
                parts.append(f"SELECT entry FROM part{self._names}")  # noqa: S608 (a number)
            else:
                parts.append(query.sql)
                parameters += query.parameters
        return _Query(f" {operator} ".join(parts), tuple(parameters), compound=True, named=tuple(named))

    def _operand(self, name: str, operator: object, value: object) -> tuple[str, FactValue]:
        typed = typed_value(value)
        if typed is None or typed[1] != typed[1]:  # only NaN differs from itself
            raise FilterError(
                f"{_shown(name)}: {operator} takes a number, a text or a truth value, not {_shown(value)}"
            )
        try:
            str(typed[1]).encode()
        except UnicodeEncodeError as error:
            raise FilterError(f"{_shown(name)}: the text in the comparison is not valid Unicode") from error
        expected = PRODUCT_FIELDS.get(name)
        if self._products_only and expected not in (None, typed[0]):
            raise FilterError(f"{name} is a {expected}; it cannot be compared with {_shown(value)}, a {typed[0]}")
        return typed


def _fact_query(name: str, test: str, *parameters: FactValue) -> _Query:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise FilterError(f"the name {name!a} is not valid Unicode") from error
    # `test` is one of the fixed texts above.
    return _Query(f"SELECT entry FROM facts WHERE name = ? AND {test}", (name, *parameters))  # noqa: S608


def _complete(query: _Query, attributes: frozenset[str]) -> Condition:
    named = f"WITH {', '.join(part.sql for part in query.named)} " if query.named else ""
    parameters = tuple(value for part in query.named for value in part.parameters)
    return Condition(f"{named}{query.sql}", (*parameters, *query.parameters), attributes)


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
