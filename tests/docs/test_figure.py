import re
from pathlib import Path
from typing import Any

import pytest

from scripts.question_figure import FIGURE, draw
from tests.paths import ROOT


def test_the_figure_shows_what_the_demo_answers(sample_demo: tuple[Path, Any]) -> None:
    _, demo = sample_demo
    assert FIGURE.read_text(encoding="utf-8") == draw(demo["answers"][0]), "see scripts/question_figure.py"


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_the_output_on_a_page_is_what_the_demo_answers(sample_demo: tuple[Path, Any], page: str) -> None:
    _, demo = sample_demo
    answer = demo["answers"][0]
    found = re.search(r"```text\n(1\. .+?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    shown = found[1]
    expected = [f"1. {answer['question']}\n{answer['note']}\n", f"\n{answer['answer']}\n"]
    for caption in answer["captions"]:
        result = f"{caption['source']}, {'kept' if caption['kept'] else 'rejected'}"
        # A long caption is wrapped, so its words are compared.
        expected += [caption["image"], *caption["text"].split(), result, f"{caption['skipped_judges']} not needed"]
        expected += [f"{vote['judge']} {vote['verdict']}" for vote in caption["votes"]]
    expected += [f"  from {cited['product']}, {cited['field']}: {cited['quote']}\n" for cited in answer["citations"]]
    assert [text for text in expected if text not in shown] == []
