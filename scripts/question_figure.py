"""Draws the figure of the README: one question of the demo, its captions with their votes, and the answer.

::

    caslie demo --json > demo.json
    python -m scripts.question_figure demo.json

A test compares the figure with what this module draws from the demo's output.
"""

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from caslie_tools.sample import catalogue_path

FIGURE: Final = Path(__file__).parents[1] / "docs" / "images" / "question.svg"

_EXPLANATION: Final = "Each picture is captioned for this question. A jury of judges votes on each caption."
_WIDTH, _CARD_HEIGHT, _MARGIN = 880, 132, 24
_FONT = "font-family=\"-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\""
_INK, _GREY, _LINE, _GREEN, _RED = "#1f2328", "#59636e", "#d1d9e0", "#1a7f37", "#cf222e"
_MARKS: Final = {"yes": ("✓", _GREEN), "no": ("✗", _RED), "abstain": ("○", _GREY)}


def draw(response: Mapping[str, Any]) -> str:
    """Draws the response to one question as SVG.

    Args:
        response: The JSON document of a response, as in ``caslie demo --json``, with its ``question``.
    """
    captions = response["captions"]
    answer_top = 84 + len(captions) * (_CARD_HEIGHT + 12)
    height = answer_top + 76
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" {_FONT}>',
        f"<title>{escape(response['question'])}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="12" fill="#ffffff"/>',
        _text(_MARGIN, 44, response["question"], size=24, weight=600),
        _text(
            _MARGIN,
            68,
            "Each picture is captioned for this question. A jury of judges votes on each caption.",
            colour=_GREY,
        ),
    ]
    for index, caption in enumerate(captions):
        parts += _card(84 + index * (_CARD_HEIGHT + 12), caption)
    parts += [
        f'<rect x="{_MARGIN}" y="{answer_top}" width="{_WIDTH - 2 * _MARGIN}" height="52" rx="8" fill="#f6f8fa"/>',
        _text(_MARGIN + 16, answer_top + 32, "Answer", colour=_GREY),
        _text(_MARGIN + 86, answer_top + 33, response["answer"], size=18, weight=600),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _card(top: int, caption: Mapping[str, Any]) -> Iterator[str]:
    """Draws the picture, the caption, the votes and the verdict of one image."""
    colour, verdict = (_GREEN, "kept") if caption["kept"] else (_RED, "rejected")
    side, left = _CARD_HEIGHT - 24, _MARGIN + 12
    picture = base64.b64encode((catalogue_path().with_name("images") / caption["image"]).read_bytes()).decode("ascii")
    yield (
        f'<rect x="{_MARGIN}" y="{top}" width="{_WIDTH - 2 * _MARGIN}" height="{_CARD_HEIGHT}" rx="8" fill="none" '
        f'stroke="{_LINE}"/>'
    )
    yield (f'<image x="{left}" y="{top + 12}" width="{side}" height="{side}" href="data:image/png;base64,{picture}"/>')
    left += side + 24
    yield _text(left, top + 32, caption["image"], colour=_GREY)
    yield _text(left, top + 64, caption["text"], size=20)
    for vote in caption["votes"]:
        mark, vote_colour = _MARKS[vote["verdict"]]
        name = vote["judge"].removeprefix("embedded-")
        yield _text(left, top + 104, f"{mark} {name}", colour=vote_colour)
        left += 16 + 9 * (len(name) + 2)
    if caption["skipped_judges"]:
        yield _text(left, top + 104, f"{caption['skipped_judges']} not needed", colour=_GREY)
    yield (
        f'<text x="{_WIDTH - _MARGIN - 20}" y="{top + 64}" font-size="20" font-weight="600" text-anchor="end" '
        f'fill="{colour}">{verdict}</text>'
    )


def _text(x: int, y: int, text: str, *, size: int = 15, weight: int = 400, colour: str = _INK) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}">{escape(text)}</text>'


def main(path: Path) -> None:
    """Draws the first question of a demo's JSON document."""
    FIGURE.write_text(draw(json.loads(path.read_text(encoding="utf-8"))["answers"][0]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
