import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import caslie_tools
from caslie_tools.tasks import TASKS, get_task
from tests.cli.conftest import Command
from tests.doubles import draw_picture
from tests.paths import ROOT

INSTANCES = sorted((ROOT / "examples" / "instances").glob("*.json"))


class TestIndex:
    def test_its_document_is_the_report(self, caslie: Command, shop: Path) -> None:
        ended = caslie("index", shop, "--json")
        assert ended.code == 0
        assert ended.err == ""
        document = ended.document
        assert document.pop("seconds") > 0
        assert document == {
            "products": 4,
            "images": 5,
            "captions_made": 0,
            "captions_reused": 5,
            "skipped": 4,
            "failed": [],
        }

    def test_it_lists_what_failed_and_why(self, caslie: Command, shop: Path) -> None:
        with shop.open("a") as file:
            file.write("vase,Vase,Home,12,,gone.png\nbad,Bad,Home,cheap,,\n")
        ended = caslie("index", shop)
        assert ended.code == 0
        assert "5 products with 5 images" in ended.out
        assert "0 captions made, 5 reused, 4 products unchanged, 2 failed" in ended.out
        assert "vase: gone.png: image 'gone.png' does not exist" in ended.out
        assert re.search(r"bad: line \d+: price", ended.out)
        assert {failure["item"] for failure in caslie("index", shop, "--json").document["failed"]} == {
            "vase: gone.png",
            "bad",
        }

    def test_it_shows_the_first_failures_only(self, caslie: Command, tmp_path: Path) -> None:
        catalogue = tmp_path / "many.csv"
        catalogue.write_text("id,image\n" + "".join(f"p{number},gone.png\n" for number in range(25)))
        assert "and 5 more; --json lists all" in caslie("index", catalogue).out

    def test_a_quotation_mark_that_is_missing_is_traced_to_where_it_opens(
        self, caslie: Command, tmp_path: Path
    ) -> None:
        catalogue = tmp_path / "quotes.csv"
        catalogue.write_text('id,title\na,A\nb,"B\nc,C\nd,D\n')
        document = caslie("index", catalogue, "--json").document
        assert document["products"] == 1
        (failure,) = document["failed"]
        assert failure["item"] == "line 5"
        assert "began on line 3" in failure["reason"]

    def test_progress_in_lines_goes_to_standard_error(self, caslie: Command, shop: Path) -> None:
        ended = caslie("index", shop, "--progress", "lines", "--json")
        assert json.loads(ended.out)["products"] == 4
        assert ended.err.splitlines()[:2] == ["reading 1/4 mug", "reading 2/4 jacket"]
        assert sum(line.startswith("captioning ") for line in ended.err.splitlines()) == 4

    def test_nothing_is_told_where_nobody_watches(self, caslie: Command, shop: Path) -> None:
        assert caslie("index", shop).err == ""
        assert caslie("index", shop, "--progress", "none").err == ""


class TestSearch:
    def test_by_words(self, caslie: Command, shop: Path) -> None:
        ended = caslie("search", "steel bottle", "--json", "-n", "2")
        hits = ended.document["products"]
        assert len(hits) == 2
        assert hits[0]["product"]["id"] == "bottle"
        assert hits[0]["score"] > hits[1]["score"]

    def test_by_what_only_a_picture_says(self, caslie: Command, shop: Path) -> None:
        (hit,) = caslie("search", "waterproof 10000 mm", "--count", "1", "--json").document["products"]
        assert hit["product"]["id"] == "jacket"
        assert hit["matched"][0]["kind"] == "caption"

    def test_by_a_picture(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        (tmp_path / "blue.png").write_bytes(draw_picture("", "blue"))
        (hit,) = caslie("search", "--image", "blue.png", "-n", "1", "--json").document["products"]
        assert hit["product"]["id"] == "jacket"
        assert [match["kind"] for match in hit["matched"]] == ["image"]

    def test_by_both_under_a_filter(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        (tmp_path / "blue.png").write_bytes(draw_picture("", "blue"))
        arguments = ("search", "something for the kitchen", "--image", "blue.png", "--json", "--where")
        found = caslie(*arguments, "price < 50 and brand = 'Fjell'").document["products"]
        assert [hit["product"]["id"] for hit in found] == ["bottle"]
        assert caslie(*arguments, "price > 1000").document == {"products": []}

    def test_for_people(self, caslie: Command, shop: Path) -> None:
        ended = caslie("search", "steel bottle")
        assert "Steel bottle" in ended.out
        assert caslie("search", "steel bottle", "--where", "price > 1000").out == "no product matches\n"


class TestAsk:
    def test_its_document_has_all_that_led_to_the_answer(self, caslie: Command, shop: Path) -> None:
        ended = caslie("ask", "Is the jacket waterproof?", "--product", "jacket", "--json")
        assert (ended.code, ended.err) == (0, "")
        document = ended.document
        assert document["answerable"] is True
        assert "WATERPROOF 10000 MM" in document["answer"]
        assert document["products"] == [{"id": "jacket", "title": "Hiking jacket"}]
        first, second = document["captions"]
        assert first["product"] == "jacket"
        assert first["image"] == "jacket-1.png"
        assert first["source"] == "generated"
        assert first["kept"] is True
        assert first["margin"] > 0
        assert {vote["verdict"] for vote in first["votes"]} >= {"yes"}
        assert second["kept"] is False
        assert document["citations"][0]["field"] == "caption"
        assert document["timings_ms"]["total"] > 0
        assert document["warnings"] == []

    def test_the_next_time_captions_come_from_the_store(self, caslie: Command, shop: Path) -> None:
        question = ("ask", "Is the jacket waterproof?", "--product", "jacket", "--json")
        first, second = caslie(*question).document, caslie(*question).document
        assert {caption["source"] for caption in second["captions"]} == {"cache"}
        assert second["answer"] == first["answer"]

    def test_over_the_whole_catalogue_under_a_filter(self, caslie: Command, shop: Path) -> None:
        document = caslie("ask", "Which bottle holds 750 ml?", "--where", "price<50", "--json").document
        assert "jacket" not in {product["id"] for product in document["products"]}
        assert "750 ML" in document["answer"]

    def test_without_any_picture(self, caslie: Command, shop: Path) -> None:
        document = caslie("ask", "Is it waterproof?", "--product", "jacket", "--text-only", "--json").document
        assert document["captions"] == []
        assert document["answerable"] is False

    def test_with_pictures_brought_along(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        (tmp_path / "mine.png").write_bytes(draw_picture("SIZE XL", "orange"))
        document = caslie("ask", "Which size is it?", "--image", "mine.png", "--image", "mine.png", "--json").document
        assert [caption["image"] for caption in document["captions"]].count("mine.png") == 2

    def test_for_people(self, caslie: Command, shop: Path) -> None:
        ended = caslie("ask", "Is the jacket waterproof?", "--product", "jacket")
        assert ended.code == 0
        assert "made, kept" in ended.out
        assert "made, rejected" in ended.out
        assert "from jacket, caption" in ended.out

    def test_a_warning_does_not_touch_the_document(
        self, caslie: Command, shop: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:blind_profile")
        monkeypatch.setenv("CASLIE_PRODUCTS_PER_QUESTION", "1")
        ended = caslie("ask", "Which mug?", "--json")
        assert ended.code == 0
        assert any("text only" in warning for warning in ended.document["warnings"])
        assert "secret" not in ended.out
        shown = caslie("ask", "Which mug?")
        assert "warning: " in shown.err
        assert "warning: " not in shown.out


class TestPredict:
    @pytest.mark.parametrize("instance", INSTANCES, ids=lambda path: path.stem)
    def test_every_example_by_name_and_by_abbreviation(self, caslie: Command, instance: Path) -> None:
        task = get_task(instance.stem)
        by_name = caslie("predict", task.name, instance, "--json")
        by_abbreviation = caslie("predict", task.abbreviation, instance, "--json")
        assert by_name.code == by_abbreviation.code == 0
        document = by_name.document
        assert document["task"] == task.name
        assert document["label"] == by_abbreviation.document["label"]
        assert document["label"]
        assert document["warnings"] == []
        assert len(document["captions"]) == len(json.loads(instance.read_text())["images"])
        assert sum(document["probabilities"].values()) == pytest.approx(1)

    def test_there_is_an_example_of_every_task(self) -> None:
        assert {path.stem for path in INSTANCES} == {name for name in TASKS if name != "product_qa"}

    def test_without_pictures_and_with_another_one(self, caslie: Command, tmp_path: Path) -> None:
        (instance,) = (path for path in INSTANCES if path.stem == "category_classification")
        assert caslie("predict", "cc", instance, "--text-only", "--json").document["captions"] == []
        (tmp_path / "mine.png").write_bytes(draw_picture("MINE"))
        (caption,) = caslie("predict", "cc", instance, "--image", "mine.png", "--json").document["captions"]
        assert caption["image"] == "mine.png"

    def test_a_picture_that_is_gone_is_a_warning(self, caslie: Command, tmp_path: Path) -> None:
        path = tmp_path / "instance.json"
        path.write_text(json.dumps({"input": {"title": "Mug"}, "options": ["A: Mugs", "B: Hats"], "images": ["gone"]}))
        ended = caslie("predict", "cc", path, "--json")
        assert ended.code == 0
        assert "does not exist" in ended.document["warnings"][0]

    def test_the_input_alone_and_a_byte_order_mark_will_do(self, caslie: Command, tmp_path: Path) -> None:
        path = tmp_path / "instance.json"
        path.write_text("\ufeff" + json.dumps(["1: Mug", "2: Cup"]), encoding="utf-8")
        ended = caslie("predict", "sr", path)
        assert ended.code == 2  # no options to choose from
        assert "options" in ended.err


class TestCaptions:
    def test_all_and_of_one_product_with_their_provenance(self, caslie: Command, shop: Path) -> None:
        known = caslie("captions", "--json").document["captions"]
        assert len(known) == 5
        (mug,) = caslie("captions", "--product", "mug", "--json").document["captions"]
        assert mug in known
        assert mug["products"] == ["mug"]
        assert "350 ML" in mug["text"]
        assert mug["captioner"].startswith("light-captioner")
        assert {"image", "task", "focus", "prompt_version", "created_at", "evidence"} <= set(mug)

    def test_for_people(self, caslie: Command, shop: Path) -> None:
        assert "350 ML" in caslie("captions").out


class TestInfo:
    def test_with_a_store(self, caslie: Command, shop: Path) -> None:
        document = caslie("info", "--json").document
        assert document["version"] == caslie_tools.__version__
        assert document["profile"]["name"] == "light"
        assert len(document["profile"]["judges"]) == 5
        assert document["store"]["products"] == 4
        assert document["store"]["captions"] == 5
        assert document["packages"]["langgraph"]
        assert document["problems"] == []

    def test_without_a_store_and_without_making_one(self, caslie: Command, tmp_path: Path) -> None:
        ended = caslie("info", "--json")
        assert ended.code == 0
        assert ended.document["store"] is None
        assert ended.document["profile"]["captioners"]
        assert ended.document["problems"] == []
        assert not (tmp_path / "store").exists()

    def test_it_says_what_is_wrong(self, caslie: Command, tmp_path: Path) -> None:
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "store.sqlite").write_text("not a database, but long enough to be looked at closely" * 10)
        ended = caslie("info")
        assert ended.code == 0
        assert "problem: " in ended.out
        assert "not a database" in ended.out
        (problem,) = caslie("info", "--profile", "none", "--json").document["problems"]
        assert "no profile 'none'" in problem

    def test_for_people(self, caslie: Command, shop: Path) -> None:
        shown = caslie("info").out
        assert "light-captioner" in shown
        assert "products: 4" in shown
        assert "max_pixels=50000000" in shown


class TestDemo:
    def test_it_answers_three_questions_and_indexes_once(self, caslie: Command, tmp_path: Path) -> None:
        first = caslie("demo", "--json").document
        assert first["indexed"]["captions_made"] > 30
        assert len(first["answers"]) == 3
        assert all({"question", "answer", "captions", "citations", "timings_ms"} <= set(a) for a in first["answers"])
        assert (tmp_path / ".caslie" / "demo").is_dir()
        second = caslie("demo", "--json").document
        assert second["indexed"]["captions_made"] == 0
        assert second["indexed"]["skipped"] == second["indexed"]["products"]
        assert [answer["answer"] for answer in second["answers"]] == [answer["answer"] for answer in first["answers"]]

    def test_for_people_it_shows_every_step(self, caslie: Command, tmp_path: Path) -> None:
        shown = caslie("demo", "--store", "mine").out
        assert (tmp_path / "mine").is_dir()
        for part in ("1. ", "2. ", "3. ", "rejected", "fused text:", "retrieve", "total"):
            assert part in shown


def test_version(caslie: Command) -> None:
    assert caslie("--version").out == f"{caslie_tools.__version__}\n"


@pytest.mark.parametrize("command", ["demo", "index", "search", "ask", "predict", "captions", "info"])
def test_every_command_has_help_and_json(caslie: Command, command: str) -> None:
    ended = caslie(command, "--help")
    assert ended.code == 0
    assert "--json" in ended.out
    assert command in caslie("--help").out


def test_help_tells_the_exit_codes_and_comes_without_a_command(caslie: Command) -> None:
    ended = caslie()
    assert ended.code == 0
    assert "Exit codes: 0 done, 1 failed, 2" in ended.out
    assert '{"error": {"type": ..., "message": ...}}' in " ".join(ended.out.split())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from caslie_tools.cli import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(ended.stderr.split())
    assert "caslie_tools.cli.app" in loaded
    heavy = {"langgraph", "langchain_core", "torch", "transformers", "faiss", "numpy", "PIL", "pydantic", "httpx"}
    assert heavy.isdisjoint(loaded)
