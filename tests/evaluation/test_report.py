import base64
import io
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("jinja2", reason="reports need the extra 'evaluation'")
pytest.importorskip("matplotlib", reason="reports need the extra 'evaluation'")
pytest.importorskip("sklearn", reason="reports need the extra 'evaluation'")

from caslie_tools.domain import Vote
from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome, Treatment, describe_treatment
from caslie_tools.evaluation.report import Report, write_report
from tests.doubles import draw_picture
from tests.evaluation.made_up_runs import judged, outcome, write_run

ATTACK = (
    '<script>alert("x")</script><img src=http://evil.example/x onerror=alert(1)> [click](http://evil.example) | **b**'
)


def run_of(folder: Path, *, gated: bool, count: int = 40, caption: str = "A red mug.") -> Path:
    """A run of one task in which captions help half of the instances. ``gated``: whether it keeps all captions."""
    outcomes = [
        outcome(
            index,
            gold := "AB"[index // 2 % 2],
            {"none": gold if index % 2 else "C", "every": gold, "gated": gold if gated else "C"},
            kept=gated,
            caption=caption,
            votes=[Vote(judge="first", verdict="yes")],
        )
        for index in range(count)
    ]
    return write_run(folder, outcomes, {"profile": "embedded", "settings": {"quorum": 1}, "judges": ["first"]})


def texts(report: Report) -> tuple[str, str]:
    return report.markdown.read_text("utf-8"), report.html.read_text("utf-8")


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the elements that are open at the end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def of_task(task: str, count: int, answers: Mapping[Treatment, str], **changes: Any) -> list[Outcome]:
    """Outcomes of one task. An answer is right if it is ``right``."""
    made = []
    for index in range(count):
        gold = "AB"[index % 2]
        given: dict[Treatment, str | None] = {
            name: gold if answer == "right" else answer for name, answer in answers.items()
        }
        made.append(outcome(index, gold, given, task=task, **changes).model_copy(update={"key": f"{task}-{index}"}))
    return made


def test_the_conclusion_names_the_tasks_where_captions_are_worth_it(tmp_path: Path) -> None:
    report = write_report(run_of(tmp_path, gated=True))
    (conclusion,) = report.conclusions
    assert conclusion.captions == (
        "Gated captions: 1.00 (0.91 to 1.00), compared with 0.50 with no captions and 1.00 with all captions, over 1 "
        "task; worth it for multiclass_product_classification."
    )
    assert conclusion.gate == (
        "The gate, compared with using all captions: +0.00 (-0.09 to +0.09); no difference shown for "
        "multiclass_product_classification (at 95% over all tasks together)."
    )
    for text in texts(report):
        assert "worth it for multiclass_product_classification" in text


def test_the_conclusion_names_harmful_undecided_and_small_tasks(tmp_path: Path) -> None:
    harmed = of_task("mpc", 30, {"none": "right", "gated": "C"})
    equal = of_task("cc", 30, {"none": "right", "gated": "right"})
    few = of_task("sa", 19, {"none": "C", "gated": "right"})
    (conclusion,) = write_report(write_run(tmp_path, harmed + equal + few)).conclusions
    assert conclusion.captions == (
        "Gated captions: 0.50 (0.44 to 0.56), compared with 1.00 with no captions, on average over 2 tasks; harmful "
        "for multiclass_product_classification; not shown to help for category_classification (at 95% over all tasks "
        "together). Not counted: sentiment_analysis (fewer than 20 instances)."
    )
    assert conclusion.gate == ""


def test_a_task_whose_right_answers_are_all_the_same_is_reported_but_not_counted(tmp_path: Path) -> None:
    same = [outcome(index, "B", {"none": "A", "gated": "B"}, task="cc") for index in range(40)]
    fair = of_task("mpc", 40, {"none": "right", "gated": "right"})
    report = write_report(write_run(tmp_path / "two", same + fair))
    (conclusion,) = report.conclusions
    assert conclusion.captions.startswith(
        "Gated captions: 1.00 (0.91 to 1.00), compared with 1.00 with no captions, over"
    )
    assert conclusion.captions.endswith("Not counted: category_classification (all right answers are 'B').")
    assert [(score.task, score.treatment, score.value) for score in report.scores][:2] == [
        ("category_classification", "none", 0),
        ("category_classification", "gated", 1),
    ]
    alone = write_report(write_run(tmp_path / "one", same))
    assert [one.captions for one in alone.conclusions] == [
        "There is no conclusion: category_classification (all right answers are 'B')."
    ]
    open_question = [outcome(index, "", {"none": "", "gated": ""}, task="product_qa") for index in range(40)]
    (conclusion,) = write_report(write_run(tmp_path / "open", open_question)).conclusions
    assert conclusion.captions.startswith("Gated captions: 1.00")


def test_a_task_is_worth_it_only_if_interval_and_exact_test_agree_at_a_level_for_all_tasks(tmp_path: Path) -> None:
    def of(task: str, gained: int) -> list[Outcome]:
        lost = of_task(task, gained, {"none": "C", "gated": "right"})
        return lost + of_task(task, 60, {"none": "right", "gated": "right"})[gained:]

    for gained, count, conclusion in (
        (5, 1, "not shown to help for"),  # the interval is above 0, but p is 0.0625
        (6, 1, "worth it for"),  # p is 0.031
        (6, 3, "not shown to help for all of them (at 95% over all tasks together)."),  # above 0.05 / 3
        (8, 3, "worth it for all of them."),  # p is 0.008
    ):
        tasks = ("cc", "mpc", "sr")[:count]
        report = write_report(
            write_run(tmp_path / f"{gained}-{count}", [one for task in tasks for one in of(task, gained)])
        )
        assert all(test.interval.low > 0 for test in report.tests)
        assert conclusion in report.conclusions[0].captions
    for text in texts(report):
        assert "Bonferroni" in text


@pytest.mark.parametrize(("won", "found"), [(4, "no difference shown for"), (6, "better for")])
def test_the_gate_is_better_only_if_the_exact_test_agrees(tmp_path: Path, won: int, found: str) -> None:
    better = of_task("mpc", won, {"every": "C", "gated": "right"})
    equal = of_task("mpc", 40, {"every": "right", "gated": "right"})[won:]
    report = write_report(write_run(tmp_path, better + equal))
    (test,) = (test for test in report.tests if test.second == "every")
    assert test.interval.low > 0
    assert f"; {found} multiclass_product_classification" in report.conclusions[0].gate


def test_wins_of_one_product_count_as_one(tmp_path: Path) -> None:
    better = [
        one.model_copy(update={"products": ("p1",)}) for one in of_task("mpc", 30, {"none": "C", "gated": "right"})
    ]
    equal = of_task("mpc", 60, {"none": "right", "gated": "right"})[30:]
    report = write_report(write_run(tmp_path, better + equal))
    (test,) = report.tests
    assert (test.only_first, test.clusters, test.p_value) == (30, 1, 1)
    assert "not shown to help for multiclass_product_classification" in report.conclusions[0].captions
    assert "| 30 | 0 | 1 | 1.000 |" in texts(report)[0]


def test_the_gate_is_judged_only_with_enough_instances(tmp_path: Path) -> None:
    for count, found in ((20, "worse for multiclass_product_classification."), (19, "")):
        made = of_task("mpc", count, {"every": "right", "gated": "C"})
        (conclusion,) = write_report(write_run(tmp_path / str(count), made)).conclusions
        assert conclusion.gate.endswith(found)
        assert (conclusion.gate == "") is (count == 19)
        assert (
            "no conclusion: multiclass_product_classification (fewer than 20 instances)" in conclusion.captions
        ) is (count == 19)


def test_every_split_has_its_own_conclusion(tmp_path: Path) -> None:
    helped = of_task("mpc", 30, {"none": "C", "every": "right", "gated": "right"}, split="test")
    harmed = of_task("mpc", 30, {"none": "right", "every": "right", "gated": "C"}, split="ood")
    harmed = [one.model_copy(update={"key": f"ood-{one.key}"}) for one in harmed]
    report = write_report(write_run(tmp_path, helped + harmed))
    ood, test = report.conclusions
    assert (ood.split, test.split) == ("ood", "test")
    assert ood.captions.startswith("Split ood: Gated captions: 0.00 (0.00 to 0.12)")
    assert ood.captions.endswith("over 1 task; harmful for multiclass_product_classification.")
    assert ood.gate.endswith("worse for multiclass_product_classification.")
    assert test.captions.startswith("Split test: Gated captions: 1.00 (0.88 to 1.00)")
    assert test.captions.endswith("over 1 task; worth it for multiclass_product_classification.")
    assert [total.scope for total in report.gate_totals] == ["all, ood", "all, test"]
    assert [total.count for total in report.gate_totals] == [30, 30]


def test_the_report_of_a_run_without_the_gate_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path, [outcome(0, "A", {"none": "A", "plain": "B"})])
    report = write_report(run)
    assert "There is no conclusion: multiclass_product_classification" in report.conclusions[0].captions
    many = write_report(write_run(tmp_path / "many", of_task("mpc", 40, {"none": "right", "plain": "C"})))
    assert "there is no conclusion about the gate" in many.conclusions[0].captions
    assert report.gate == ()
    assert "The gate\n" not in texts(report)[0]


def test_the_table_has_a_row_per_task_and_a_column_per_treatment(tmp_path: Path) -> None:
    report = write_report(run_of(tmp_path, gated=True))
    assert report.columns == ("task", "metric", "instances", "none", "every", "gated")
    (row,) = report.rows
    assert row[:3] == ("multiclass_product_classification", "accuracy", "40")
    assert row[-1] == "1.00 (0.91 to 1.00)"
    assert re.fullmatch(r"0\.50 \(0\.3\d to 0\.6\d\)", row[3])
    two = [outcome(0, "A", {"none": "A"}, split="ood"), outcome(1, "A", {"every": "A"}, split="test")]
    split = write_report(write_run(tmp_path / "two", two))
    assert split.columns == ("task", "split", "metric", "instances", "none", "every")
    assert [row[1] for row in split.rows] == ["ood", "test"]
    assert [row[4:] for row in split.rows] == [("1.00 (0.03 to 1.00)", ""), ("", "1.00 (0.03 to 1.00)")]


def test_the_same_outcomes_give_the_same_files(tmp_path: Path) -> None:
    first, second = (write_report(run_of(tmp_path / name, gated=False)) for name in ("first", "second"))
    assert texts(first) == texts(second)
    assert texts(write_report(tmp_path / "first")) == texts(first)


def test_the_page_is_self_contained_and_runs_nothing_from_captions(tmp_path: Path) -> None:
    outcomes = [judged(index, none=True, every=False, kept=True) for index in range(3)]
    attacked = [
        one.model_copy(
            update={
                "split": ATTACK,
                "input": ATTACK,
                "options": (f"A: {ATTACK}", f"B: {ATTACK}"),
                "images": (f"https://evil.example/{ATTACK}",),
                "treatments": {
                    name: treated.model_copy(
                        update={"captions": tuple(c.model_copy(update={"text": ATTACK}) for c in treated.captions)}
                    )
                    for name, treated in one.treatments.items()
                },
            }
        )
        for one in outcomes
    ]
    facts = {ATTACK: ATTACK, "nested": {"list": [ATTACK]}, "started": ATTACK, "command": ATTACK}
    report = write_report(write_run(tmp_path, attacked, facts))
    assert len(report.examples) == 3
    markdown, page = texts(report)
    assert "alert" in page  # the text is shown, but it is not an element
    elements = Elements(page)
    assert elements.open == []
    assert {tag for tag, _ in elements.found}.isdisjoint(
        {"script", "img", "link", "iframe", "a", "object", "foreignobject"}
    )
    for _, attributes in elements.found:
        assert not any(name.startswith("on") for name in attributes)
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    styles = re.findall(r"url\(([^)]*)\)", page)
    assert all(style.startswith("#") for style in styles)
    assert not re.search(r"(?<!\\)<|(?<!\\)\]\(", markdown)
    assert "http:\\//evil" in markdown


def test_every_plot_has_a_text_alternative_and_the_text_colour_of_the_page(tmp_path: Path) -> None:
    _, page = texts(write_report(run_of(tmp_path, gated=True)))
    elements = Elements(page)
    plots = [attributes for tag, attributes in elements.found if tag == "svg"]
    assert len(plots) == 3
    for attributes in plots:
        assert attributes["role"] == "img"
    labels = [attributes["aria-label"] or "" for attributes in plots]
    assert "multiclass_product_classification gated 1.00 (0.91 to 1.00)" in labels[0]
    assert "kept: 20 helpful, 20 redundant, 0 misleading, 0 ineffective" in labels[1]
    assert "none: 1.00 calls" in labels[2]
    assert page.count("currentColor") > 10
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_worst_mistakes_are_those_with_the_largest_vote_margin(tmp_path: Path) -> None:
    def votes(yes: int) -> list[Vote]:
        return [Vote(judge=f"judge-{place}", verdict="yes" if place < yes else "no") for place in range(5)]

    misled = [judged(yes, none=True, every=False, kept=True, votes=votes(yes)) for yes in (3, 5, 4)]
    lost = [judged(10 + yes, none=False, every=True, kept=False, votes=votes(yes)) for yes in (2, 0)]
    fine = [judged(20, none=False, every=True, kept=True, votes=votes(5))]
    report = write_report(write_run(tmp_path, misled + lost + fine))
    assert [(one.kind, one.index) for one in report.examples] == [
        ("misled", 5),
        ("misled", 4),
        ("misled", 3),
        ("lost", 10),
        ("lost", 12),
    ]
    first = report.examples[0]
    assert (first.without, first.with_captions, first.gated, first.votes) == ("B", "C", "C", "5 yes, 0 no")
    assert "kept misleading captions (5 yes, 0 no)" in texts(report)[0]


def test_a_case_shows_the_picture_the_options_and_the_caption_instead_of_letters(tmp_path: Path) -> None:
    picture = tmp_path / "mug.png"
    picture.write_bytes(draw_picture("350 ML", "red"))
    made = judged(0, none=True, every=False, kept=True, votes=[Vote(judge="first", verdict="yes")]).model_copy(
        update={
            "input": "query: a red mug",
            "options": ("A: Mugs", "B: Lamps", "C: Tea"),
            "images": (str(picture),),
        }
    )
    report = write_report(write_run(tmp_path / "run", [made]))
    (case,) = report.examples
    assert (case.input, case.gold, case.without, case.with_captions) == (
        "query: a red mug",
        "A: Mugs",
        "A: Mugs",
        "C: Tea",
    )
    (caption,) = case.captions
    assert (caption.text, caption.picture, caption.votes) == ("A red mug.", "mug.png", "1 yes, 0 no")
    markdown, page = texts(report)
    assert "Right answer: A: Mugs; answer without captions: A: Mugs; with all captions: C: Tea" in markdown
    assert "Caption (1 yes, 0 no) of mug.png: A red mug." in markdown
    (image,) = (attributes for tag, attributes in Elements(page).found if tag == "img")
    assert image["alt"] == "mug.png"
    shown = Image.open(io.BytesIO(base64.b64decode((image["src"] or "").removeprefix("data:image/jpeg;base64,"))))
    assert max(shown.size) <= 160
    assert "thumbnail" not in report.model_dump(mode="json")["examples"][0]["captions"][0]


def test_a_case_with_several_captions_shows_those_that_the_gate_decided_wrong(tmp_path: Path) -> None:
    made = judged(0, none=True, every=False, kept=True)
    captions = [
        CaptionOutcome(image=index, text=f"Caption {index}.", kept=index != 3, right_without=index >= 2)
        for index in range(5)
    ]
    treatments = {
        name: treated.model_copy(update={"captions": tuple(captions), "fused": 5 * (name != "none")})
        for name, treated in made.treatments.items()
    }
    report = write_report(write_run(tmp_path, [made.model_copy(update={"treatments": treatments})]))
    # Without the third, fourth or fifth caption, the answer is right. The gate rejected the fourth.
    assert [caption.text for caption in report.examples[0].captions] == ["Caption 2.", "Caption 4."]


@pytest.mark.parametrize("image", [None, "none.png", "https://shop.example/mug.png?key=secret", "https:mug"])
def test_a_case_without_a_picture_on_this_machine_names_it_and_fetches_nothing(
    tmp_path: Path, image: str | None
) -> None:
    made = judged(0, none=True, every=False, kept=True).model_copy(update={"images": (image,)})
    report = write_report(write_run(tmp_path, [made]))
    assert report.examples[0].captions[0].thumbnail == ""
    for text in texts(report):
        assert "secret" not in text
        assert ("mug.png" in text) is (image is not None and "shop" in image)


def test_the_report_defines_its_treatments_and_names_date_version_and_command(tmp_path: Path) -> None:
    answers: dict[Treatment, str | None] = {"none": "A", "every": "A", "gated": "A", "judge:first": "B"}
    facts = {
        "started": "2026-12-01T10:00:00+00:00",
        "command": "caslie eval data --split test",
        "versions": {"caslie-tools": "0.1.0"},
    }
    report = write_report(write_run(tmp_path, [outcome(0, "A", answers)], facts))
    markdown, page = texts(report)
    for text in (markdown, page):
        assert "2026-12-01T10:00:00+00:00, caslie-tools 0.1.0:" in text
        assert "caslie eval data --split test" in text
    for name in answers:
        assert describe_treatment(name)
        assert f"- {name.replace('_', chr(92) + '_')}: {describe_treatment(name)}" in markdown
        assert f"<dt>{name}</dt><dd>" in page


def test_unusual_characters_and_long_texts_do_not_break_the_report(tmp_path: Path) -> None:
    odd = "A very long caption \u202e\x00 " + "word " * 100
    run = run_of(tmp_path, gated=False, caption=odd)
    (tmp_path / "run.json").write_text('{"note": "half a character: \\ud800", "$x$": 1}')
    report = write_report(run)
    assert all(len(caption.text) <= 160 for one in report.examples for caption in one.captions)
    for text in texts(report):
        assert "\u202e" not in text
        assert "half a character" in text
