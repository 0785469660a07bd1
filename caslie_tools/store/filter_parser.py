"""Parses the text form of a product filter, an SQL-like condition, to its dictionary form.

The text is parsed as SQL, and its syntax tree is converted node by node. Only the nodes listed here are accepted. The
result is the dictionary form of :mod:`caslie_tools.store.filters`. The text itself never reaches the database.
"""

from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from caslie_tools.exceptions import FilterError
from caslie_tools.store.facts import PRODUCT_FIELDS

_MAX_LENGTH: Final = 4_000
_HINT: Final = "supported: = != < <= > >= LIKE, IN (...), BETWEEN ... AND, IS [NOT] NULL, AND, OR, NOT, parentheses"

_COMPARISONS: Final[dict[type[exp.Expr], str]] = {
    exp.EQ: "$eq",
    exp.NEQ: "$ne",
    exp.LT: "$lt",
    exp.LTE: "$lte",
    exp.GT: "$gt",
    exp.GTE: "$gte",
    exp.Like: "$like",
}
_FLIPPED: Final = {"$eq": "$eq", "$ne": "$ne", "$lt": "$gt", "$lte": "$gte", "$gt": "$lt", "$gte": "$lte"}


def parse_filter(text: str) -> dict[str, Any]:
    """Returns the dictionary form of a condition such as ``price < 50 and brand = 'Fjord'``.

    A name with characters other than letters, digits and underscores must be in double quotes: ``"Protection class" =
    'IP67'``.

    Raises:
        FilterError: If the text is not a condition, or uses unsupported SQL.
    """
    if len(text) > _MAX_LENGTH:
        raise FilterError(
            f"the filter has {len(text)} characters, but at most {_MAX_LENGTH} are allowed; use a dictionary"
        )
    try:
        return _condition(sqlglot.parse_one(text, into=exp.Condition, dialect="sqlite"))
    except SqlglotError as error:
        raise FilterError(f"the filter {text[:200]!a} is not a condition such as price < 50 ({_HINT})") from error
    except RecursionError as error:
        raise FilterError("the filter has too many nested levels; simplify it") from error


def _condition(node: exp.Expr) -> dict[str, Any]:
    match node:
        case exp.Paren():
            return _condition(_only(node, "this").this)
        case exp.Not():
            return {"$not": _condition(_only(node, "this").this)}
        case exp.And() | exp.Or():
            _only(node, "this", "expression")
            name = "$and" if isinstance(node, exp.And) else "$or"
            # A chain such as `a or b or c` becomes one flat list, so its length does not add levels.
            return {name: [_condition(part) for part in node.flatten(unnest=False)]}
        case exp.In():
            _only(node, "this", "expressions")
            return {_name(node.this): {"$in": [_value(item) for item in node.expressions]}}
        case exp.Between():
            _only(node, "this", "low", "high")
            return {_name(node.this): {"$between": [_value(node.args["low"]), _value(node.args["high"])]}}
        case exp.Is(expression=exp.Null()):
            return {_name(_only(node, "this", "expression").this): {"$exists": False}}
        case exp.Column():
            raise FilterError(
                f"{_name(node)!a} is not a condition; compare it with a value, as in {_name(node)} = 'value'"
            )
    return _comparison(node)


def _comparison(node: exp.Expr) -> dict[str, Any]:
    operator = _COMPARISONS.get(type(node))
    if operator is None:
        raise _unsupported(node)
    left, right = _only(node, "this", "expression", "negate").this, node.expression
    if isinstance(left, exp.Column):
        condition: dict[str, Any] = {_name(left): {operator: _value(right)}}
        # Depending on its version, sqlglot parses NOT LIKE as a negated Like or as a Not around a Like.
        return {"$not": condition} if node.args.get("negate") else condition
    if operator in _FLIPPED:  # 50 > price
        return {_name(right): {_FLIPPED[operator]: _value(left)}}
    raise _unsupported(node)


def _name(node: object) -> str:
    if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
        raise _unsupported(node)
    _only(node, "this")
    name: str = node.this.name
    # SQL ignores the case of names. Attributes must be spelled as in the catalogue.
    return name.lower() if name.lower() in PRODUCT_FIELDS and not node.this.quoted else name


def _value(node: object) -> str | int | float | bool:
    match node:
        case exp.Literal(is_string=True):
            return str(node.this)
        case exp.Literal():
            return _number(str(node.this))
        case exp.Neg(this=exp.Literal(is_string=False) as literal):
            return -_number(str(literal.this))
        case exp.Boolean():
            return bool(node.this)
        case exp.Column():
            raise FilterError(
                f"{_name(node)!a} is a name, but a value is expected; write texts in single quotes: '{_name(node)}'"
            )
    raise _unsupported(node)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError as error:
            raise FilterError(f"{text[:40]!a} is not a number") from error


def _only(node: exp.Expr, *names: str) -> exp.Expr:
    # A node with further parts, such as BETWEEN SYMMETRIC, has a meaning that is not supported here.
    if any(value for name, value in node.args.items() if name not in names):
        raise _unsupported(node)
    return node


def _unsupported(node: object) -> FilterError:
    part = node.sql("sqlite") if isinstance(node, exp.Expr) else str(node)
    return FilterError(f"{part[:80]!a} is not supported in a filter ({_HINT})")
