from pathlib import Path
from typing import Any

from scripts.question_figure import FIGURE, draw


def test_the_figure_shows_what_the_demo_answers(sample_demo: tuple[Path, Any]) -> None:
    _, demo = sample_demo
    assert FIGURE.read_text(encoding="utf-8") == draw(demo["answers"][0]), "see scripts/question_figure.py"
