"""Renders the templates of reports. All values are escaped, for HTML and for Markdown."""

from collections.abc import Mapping
from typing import Any

from caslie_tools._optional import require
from caslie_tools._text import escape_markdown
from caslie_tools.evaluation.formatting import format_interval, format_number, format_p_value


def render_template(name: str, values: Mapping[str, Any]) -> str:
    """Renders one template.

    Args:
        name: The template's name without ``.jinja``. Its suffix, ``.html`` or ``.md``, decides how values are escaped.
        values: The template's variables.

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
    environment.filters |= {"number": _number, "signed": _signed, "p": format_p_value}
    text: str = environment.get_template(f"{name}.jinja").render(values)
    # Models and shops may produce lone surrogates, which UTF-8 cannot encode.
    return text.encode("utf-8", "replace").decode("utf-8").rstrip() + "\n"


def _finalized(value: object) -> object:
    return escape_markdown(value) if isinstance(value, str) else value


def _number(value: float | None) -> str:
    return "-" if value is None else format_number(value)


def _signed(value: Any) -> str:
    return format_number(value, sign=True) if isinstance(value, int | float) else format_interval(value, sign=True)
