import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import caslie_tools
from caslie_tools.tasks import TASKS, get_task
from tests.cli.commands import Command, assert_error
from tests.doubles import draw_picture
from tests.paths import ROOT

INSTANCES = sorted((ROOT / "examples" / "instances").glob("*.json"))


class TestIndex:
    def test_the_document_is_the_report(self, caslie: Command, shop: Path) -> None:
        result = caslie("index", shop, "--json", "--progress", "none")
        assert result.code == 0
        assert result.err == ""
        document = result.document
        assert document.pop("seconds") > 0
        assert document.pop("format")["written"] == {"encoding": "utf-8", "encoding_guessed": False, "delimiter": ","}
        assert document == {
            "products": 4,
            "images": 5,
            "captions_made": 0,
            "captions_reused": 5,
            "skipped": 4,
            "failed": [],
            "removed": [],
            "not_removed": "",
            "captions_removed": 0,
        }

    def test_pruning_is_shown_first_and_then_done(self, caslie: Command, shop: Path) -> None:
        lines = shop.read_text(encoding="utf-8").splitlines()
        shop.write_text("\n".join(line for line in lines if not line.startswith("jacket")), encoding="utf-8")
        preview = caslie("index", shop, "--prune", "--dry-run")
        assert preview.code == 0
        assert (
            "0 products are new, 0 changed, 3 unchanged, 1 to be removed, 0 failed. Nothing was written" in preview.out
        )
        assert "remove: jacket" in preview.out
        assert caslie("index", shop, "--prune", "--dry-run", "--json").document["removed"] == ["jacket"]
        result = caslie("index", shop, "--prune", "--progress", "none")
        assert result.code == 0
        assert "3 products unchanged, 1 removed, 0 failed" in result.out
        assert caslie("index", shop, "--prune", "--json").document["removed"] == []

    def test_a_preview_leaves_no_store_behind(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        result = caslie("index", shop, "--dry-run", "--store", tmp_path / "none")
        assert "4 products are new" in result.out
        assert "new: jacket" in result.out
        assert not (tmp_path / "none").exists()

    def test_pruning_with_an_unreadable_row_says_why_nothing_is_removed(self, caslie: Command, shop: Path) -> None:
        with shop.open("a") as file:
            file.write(",No id,Home,12,,\n")
        result = caslie("index", shop, "--prune", "--progress", "none")
        assert result.code == 1
        assert "no product was removed, because 1 row of the catalogue cannot be read" in result.out

    def test_failures_are_listed_with_their_reason(self, caslie: Command, shop: Path) -> None:
        with shop.open("a") as file:
            file.write("vase,Vase,Home,12,,gone.png\nbad,Bad,Home,cheap,,\n")
        result = caslie("index", shop, "--progress", "none")
        assert result.code == 1
        assert result.err == "error: 2 items failed; everything else is complete\n"
        assert "6 products with 5 images" in result.out
        assert "0 captions generated, 5 reused, 4 products unchanged, 2 failed" in result.out
        assert "vase: gone.png: image 'gone.png' does not exist" in result.out
        assert re.search(r"bad: line \d+: price", result.out)
        assert {failure["item"] for failure in caslie("index", shop, "--json").document["failed"]} == {
            "vase: gone.png",
            "bad",
        }

    def test_the_report_says_how_the_file_was_read(self, caslie: Command, tmp_path: Path) -> None:
        catalogue = tmp_path / "export.csv"
        catalogue.write_bytes("SKU;Name;Preis;Farbe\na;Schüssel;12,90 €;rot\n".encode("cp1252"))
        columns = (
            "--column",
            "id=SKU",
            "--column",
            "title=name",
            "--column",
            "price=Preis",
            "--column",
            "colour=Farbe",
        )
        result = caslie("index", catalogue, *columns)
        assert result.code == 0, result
        assert (
            "read as cp1252 (a guess: check the texts, or set the encoding); columns separated by semicolon; "
            "id from 'SKU'; title from 'Name'; price from 'Preis'; colour from 'Farbe'; decimal comma in Preis; "
            "prices in EUR"
        ) in result.out
        options = ("--delimiter", "semicolon", "--encoding", "cp1252", "--decimal", "comma")
        document = caslie("index", catalogue, *columns, *options, "--json").document
        assert document["skipped"] == 1
        assert document["format"]["columns"] == {"SKU": "id", "Name": "title", "Preis": "price", "Farbe": "colour"}
        assert document["format"]["written"] == {"encoding": "cp1252", "encoding_guessed": False, "delimiter": ";"}
        (hit,) = caslie("search", "Schüssel", "--where", "price = 12.9 and colour = 'rot'", "--json").document[
            "products"
        ]
        assert hit["product"]["title"] == "Schüssel"

    def test_only_the_first_failures_are_printed(self, caslie: Command, tmp_path: Path) -> None:
        catalogue = tmp_path / "many.csv"
        catalogue.write_text("id,image\n" + "".join(f"p{number},gone.png\n" for number in range(25)))
        assert "  5 more; use --json to list all" in caslie("index", catalogue).out

    def test_a_missing_quotation_mark_is_reported_with_its_line(self, caslie: Command, tmp_path: Path) -> None:
        catalogue = tmp_path / "quotes.csv"
        catalogue.write_text('id,title\na,A\nb,"B\nc,C\nd,D\n')
        document = caslie("index", catalogue, "--json").document
        assert document["products"] == 1
        (failure,) = document["failed"]
        assert failure["item"] == "line 5"
        assert "starts on line 3" in failure["reason"]

    def test_progress_lines_are_printed_on_standard_error(self, caslie: Command, shop: Path) -> None:
        result = caslie("index", shop, "--progress", "lines", "--json")
        assert json.loads(result.out)["products"] == 4
        assert result.err.splitlines()[:2] == ["reading 1/4 mug", "reading 2/4 jacket"]
        assert sum(line.startswith("captioning ") for line in result.err.splitlines()) == 4

    def test_outside_a_terminal_a_line_is_printed_whenever_a_tenth_is_done(
        self, caslie: Command, tmp_path: Path
    ) -> None:
        catalogue = tmp_path / "many.csv"
        catalogue.write_text("id,title\n" + "".join(f"{number},Item {number}\n" for number in range(95)))
        lines = [line for line in caslie("index", catalogue).err.splitlines() if line.startswith("reading ")]
        assert len(lines) == 10
        assert lines[0] == "reading 10/95"
        assert lines[-1] == "reading 95/95"
        assert caslie("index", catalogue, "--progress", "none").err == ""


@pytest.mark.usefixtures("shop")
class TestRemove:
    def test_products_are_removed_and_unknown_ids_are_named(self, caslie: Command) -> None:
        result = caslie("remove", "jacket", "sofa", "jacket")
        assert result.code == 1
        assert result.out == "removed: jacket\n"
        assert "the store has no product 'sofa'" in result.err
        products = caslie("search", "jacket", "--json").document["products"]
        assert "jacket" not in [hit["product"]["id"] for hit in products]

    def test_a_dry_run_removes_nothing(self, caslie: Command) -> None:
        result = caslie("remove", "jacket", "--dry-run")
        assert (result.code, result.out) == (0, "would be removed: jacket\n")
        document = caslie("remove", "jacket", "--json").document
        assert document == {"removed": ["jacket"], "unknown": [], "dry_run": False}

    def test_an_id_with_spaces_slashes_and_brackets(self, caslie: Command, shop: Path) -> None:
        with shop.open("a", encoding="utf-8") as file:
            file.write("a/b [red] ü,Odd,Home,12,,\n")
        caslie("index", shop)
        assert caslie("remove", "a/b [red] ü").out == "removed: a/b [red] ü\n"

    def test_a_store_that_does_not_exist(self, caslie: Command, tmp_path: Path) -> None:
        result = caslie("remove", "jacket", "--store", tmp_path / "none")
        assert_error(result, code=1, contains=["there is no store"])
        assert not (tmp_path / "none").exists()


class TestSearch:
    def test_by_text(self, caslie: Command, shop: Path) -> None:
        result = caslie("search", "steel bottle", "--json", "-n", "2")
        hits = result.document["products"]
        assert len(hits) == 2
        assert hits[0]["product"]["id"] == "bottle"
        assert hits[0]["score"] > hits[1]["score"]

    def test_by_text_that_only_an_image_contains(self, caslie: Command, shop: Path) -> None:
        (hit,) = caslie("search", "waterproof 10000 mm", "--count", "1", "--json").document["products"]
        assert hit["product"]["id"] == "jacket"
        assert hit["matched"][0]["kind"] == "caption"

    def test_by_an_image(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        (tmp_path / "blue.png").write_bytes(draw_picture("", "blue"))
        (hit,) = caslie("search", "--image", "blue.png", "-n", "1", "--json").document["products"]
        assert hit["product"]["id"] == "jacket"
        assert [match["kind"] for match in hit["matched"]] == ["image"]

    def test_by_text_and_image_with_a_filter(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        (tmp_path / "blue.png").write_bytes(draw_picture("", "blue"))
        arguments = ("search", "something for the kitchen", "--image", "blue.png", "--json", "--where")
        found = caslie(*arguments, "price < 50 and brand = 'Fjell'").document["products"]
        assert [hit["product"]["id"] for hit in found] == ["bottle"]
        assert caslie(*arguments, "price > 1000").document == {"products": []}

    def test_the_output_is_a_table(self, caslie: Command, shop: Path) -> None:
        result = caslie("search", "steel bottle")
        assert "Steel bottle" in result.out
        assert caslie("search", "steel bottle", "--where", "price > 1000").out == "no product matches\n"


class TestAsk:
    def test_the_document_contains_captions_votes_and_citations(self, caslie: Command, shop: Path) -> None:
        result = caslie("ask", "Is the jacket waterproof?", "--product", "jacket", "--json")
        assert (result.code, result.err) == (0, "")
        document = result.document
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

    def test_the_second_time_captions_come_from_the_store(self, caslie: Command, shop: Path) -> None:
        question = ("ask", "Is the jacket waterproof?", "--product", "jacket", "--json")
        first, second = caslie(*question).document, caslie(*question).document
        assert {caption["source"] for caption in second["captions"]} == {"cache"}
        assert second["answer"] == first["answer"]

    def test_the_whole_catalogue_with_a_filter(self, caslie: Command, shop: Path) -> None:
        document = caslie("ask", "Which bottle holds 750 ml?", "--where", "price<50", "--json").document
        assert "jacket" not in {product["id"] for product in document["products"]}
        assert "750 ML" in document["answer"]

    def test_without_images(self, caslie: Command, shop: Path) -> None:
        document = caslie("ask", "Is it waterproof?", "--product", "jacket", "--text-only", "--json").document
        assert document["captions"] == []
        assert document["answerable"] is False

    def test_with_images_of_the_shopper(self, caslie: Command, shop: Path, tmp_path: Path) -> None:
        (tmp_path / "mine.png").write_bytes(draw_picture("SIZE XL", "orange"))
        document = caslie("ask", "Which size is it?", "--image", "mine.png", "--image", "mine.png", "--json").document
        assert [caption["image"] for caption in document["captions"]].count("mine.png") == 2

    def test_the_answer_comes_first_and_captions_on_request(self, caslie: Command, shop: Path) -> None:
        brief = caslie("ask", "Is the jacket waterproof?", "--product", "jacket")
        assert "kept" not in brief.out
        result = caslie("ask", "Is the jacket waterproof?", "--product", "jacket", "--explain")
        assert result.code == 0
        assert result.out.startswith(brief.out)
        assert "kept" in result.out
        assert "rejected" in result.out
        assert "from jacket, caption" in result.out

    def test_warnings_are_not_printed_on_standard_output(
        self, caslie: Command, shop: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CASLIE_PROFILE", "tests.doubles:blind_profile")
        monkeypatch.setenv("CASLIE_PRODUCTS_PER_QUESTION", "1")
        result = caslie("ask", "Which mug?", "--json")
        assert result.code == 0
        assert any("text only" in warning for warning in result.document["warnings"])
        assert "secret" not in result.out
        shown = caslie("ask", "Which mug?")
        assert "warning: " in shown.err
        assert "warning: " not in shown.out


class TestPredict:
    @pytest.mark.parametrize("instance", INSTANCES, ids=lambda path: path.stem)
    def test_every_example_works_by_name_and_by_abbreviation(self, caslie: Command, instance: Path) -> None:
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

    def test_every_task_has_an_example(self) -> None:
        assert {path.stem for path in INSTANCES} == {name for name in TASKS if name != "product_qa"}

    def test_without_images_and_with_another_image(self, caslie: Command, tmp_path: Path) -> None:
        (instance,) = (path for path in INSTANCES if path.stem == "category_classification")
        assert caslie("predict", "cc", instance, "--text-only", "--json").document["captions"] == []
        (tmp_path / "mine.png").write_bytes(draw_picture("MINE"))
        (caption,) = caslie("predict", "cc", instance, "--image", "mine.png", "--json").document["captions"]
        assert caption["image"] == "mine.png"

    def test_a_missing_image_is_a_warning(self, caslie: Command, tmp_path: Path) -> None:
        path = tmp_path / "instance.json"
        path.write_text(json.dumps({"input": {"title": "Mug"}, "options": ["A: Mugs", "B: Hats"], "images": ["gone"]}))
        result = caslie("predict", "cc", path, "--json")
        assert result.code == 0
        assert "does not exist" in result.document["warnings"][0]

    def test_a_byte_order_mark_is_accepted(self, caslie: Command, tmp_path: Path) -> None:
        path = tmp_path / "instance.json"
        path.write_text("\ufeff" + json.dumps(["1: Mug", "2: Cup"]), encoding="utf-8")
        result = caslie("predict", "sr", path)
        assert result.code == 2  # no options to choose from
        assert "options" in result.err


class TestCaptions:
    def test_the_document_lists_all_captions_or_those_of_one_product(self, caslie: Command, shop: Path) -> None:
        stored = caslie("captions", "--json").document["captions"]
        assert len(stored) == 5
        (mug,) = caslie("captions", "--product", "mug", "--json").document["captions"]
        assert mug in stored
        assert mug["products"] == ["mug"]
        assert "350 ML" in mug["text"]
        assert mug["captioner"].startswith("light-captioner")
        assert {"image", "task", "focus", "prompt_version", "created_at", "evidence"} <= set(mug)

    def test_the_output_is_a_table(self, caslie: Command, shop: Path) -> None:
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

    def test_a_missing_store_is_not_created(self, caslie: Command, tmp_path: Path) -> None:
        result = caslie("info", "--json")
        assert result.code == 0
        assert result.document["store"] is None
        assert result.document["profile"]["captioners"]
        assert result.document["problems"] == []
        assert not (tmp_path / "store").exists()

    def test_problems_are_listed(self, caslie: Command, tmp_path: Path) -> None:
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "store.sqlite").write_text("not a database, but long enough to have a header" * 10)
        result = caslie("info")
        assert result.code == 1
        assert "problem: " in result.out
        assert "not a database" in result.out
        (problem,) = caslie("info", "--profile", "none", "--json").document["problems"]
        assert "no profile 'none'" in problem

    def test_the_output_lists_models_settings_and_counts(self, caslie: Command, shop: Path) -> None:
        shown = caslie("info").out
        assert "light-captioner" in shown
        assert "products: 4" in shown
        assert "max_pixels=50000000" in shown


class TestDemo:
    def test_it_answers_three_questions_and_indexes_only_once(self, caslie: Command, tmp_path: Path) -> None:
        first = caslie("demo", "--json").document
        assert first["indexed"]["captions_made"] > 30
        assert len(first["answers"]) == 3
        assert all({"question", "answer", "captions", "citations", "timings_ms"} <= set(a) for a in first["answers"])
        assert (tmp_path / ".caslie" / "demo").is_dir()
        second = caslie("demo", "--json").document
        assert second["indexed"]["captions_made"] == 0
        assert second["indexed"]["skipped"] == second["indexed"]["products"]
        assert [answer["answer"] for answer in second["answers"]] == [answer["answer"] for answer in first["answers"]]

    def test_the_output_shows_every_step(self, caslie: Command, tmp_path: Path) -> None:
        shown = caslie("demo", "--store", "mine").out
        assert (tmp_path / "mine").is_dir()
        for part in ("1. ", "2. ", "3. ", "rejected", "fused text:", "retrieve", "total"):
            assert part in shown


def test_version_prints_the_version(caslie: Command) -> None:
    assert caslie("--version").out == f"{caslie_tools.__version__}\n"


@pytest.mark.parametrize("command", ["demo", "index", "search", "ask", "predict", "captions", "info"])
def test_every_command_has_help_and_json(caslie: Command, command: str) -> None:
    result = caslie(command, "--help")
    assert result.code == 0
    assert "--json" in result.out
    assert command in caslie("--help").out


def test_help_is_printed_without_arguments_and_lists_the_exit_codes(caslie: Command) -> None:
    result = caslie()
    assert result.code == 0
    assert "Exit codes: 0 for success, 1 for a failure, 2" in result.out
    assert '{"error": {"type": ..., "message": ...}}' in " ".join(result.out.split())


def test_help_does_not_import_heavy_packages() -> None:
    code = (
        "import sys\n"
        "from caslie_tools.cli import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(result.stderr.split())
    assert "caslie_tools.cli.app" in loaded
    heavy = {"langgraph", "langchain_core", "torch", "transformers", "faiss", "numpy", "PIL", "pydantic", "httpx"}
    assert heavy.isdisjoint(loaded)
