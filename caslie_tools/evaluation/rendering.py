"""Fills the templates of reports. What is put in is data, whatever it holds: HTML and Markdown alike escape it."""

from collections.abc import Mapping
from typing import Any

from caslie_tools._optional import require
from caslie_tools._text import escape_markdown
from caslie_tools.evaluation.verdict import shown, shown_interval, shown_p_value


def render(name: str, values: Mapping[str, Any]) -> str:
    """Returns a report.

    Args:
        name: The template's name without its ending, which says what to escape for: ``.html`` or ``.md``.
        values: What the template needs.

    Raises:
        MissingExtraError: If jinja2 is not installed.
    """
    jinja2 = require("jinja2", "evaluation", "Writing a report")
    as_html = name.endswith(".html")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("caslie_tools.evaluation"),
        autoescape=as_html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=None if as_html else _finalized,
    )
    environment.filters |= {"number": _number, "signed": _signed, "p": shown_p_value}
    text: str = environment.get_template(f"{name}.jinja").render(values)
    # Half a character, from a model or a shop, is no UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8").rstrip() + "\n"


def _finalized(value: object) -> object:
    return escape_markdown(value) if isinstance(value, str) else value


def _number(value: float | None) -> str:
    return "-" if value is None else shown(value)


def _signed(value: Any) -> str:
    return shown(value, sign=True) if isinstance(value, int | float) else shown_interval(value, sign=True)
