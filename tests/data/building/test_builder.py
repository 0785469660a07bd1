import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caslie_tools import Caslie
from caslie_tools.data.building import BuildOptions, BuildReport, build_dataset
from caslie_tools.data.building.task_builders import TASK_BUILDERS
from caslie_tools.data.records import Record, read_record
from caslie_tools.domain import Verdict
from caslie_tools.exceptions import CatalogueError, DataError, EndpointUnavailableError, ModelError
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import Captioner, Judge, Models
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import TASKS, get_task, register_task
from tests.data.building.sample_shop import write_log, write_sample_shop
from tests.doubles import (
    FunctionCaptioner,
    FunctionJudge,
    HashEmbeddings,
    draw_picture,
    jury,
    light_models,
    light_profile,
    raising,
    write_catalogue,
)
from tests.paths import ROOT
from tests.time_limits import HANG_SECONDS

HALVES = BuildOptions(proportions=(0.5, 0.25, 0.25), hold_out_categories=("Shelf 3",), options=6)


def rows_of(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (out / "dataset.jsonl").read_text(encoding="utf-8").splitlines()]


def records_of(out: Path) -> list[Record]:
    return [read_record(index, row, base=out) for index, row in enumerate(rows_of(out))]


def _profile(captioner: Captioner | None = None, judges: Sequence[Judge] | None = None) -> Profile:
    """The light profile with another captioner or other judges."""

    def models(store: CaptionStore) -> Models:
        light = light_models(store)
        return Models(
            captioners=[captioner] if captioner else light.captioners,
            judges=judges or light.judges,
            predictor=light.predictor,
        )

    return Profile(name="light", embeddings=HashEmbeddings(), models=models)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildReport]:
    folder = tmp_path_factory.mktemp("shop")
    catalogue, logs = write_sample_shop(folder)
    return folder / "out", build_dataset(catalogue, folder / "out", logs=logs, options=HALVES)


class TestDataset:
    def test_every_task_is_built_and_can_be_read_back(self, built: tuple[Path, BuildReport]) -> None:
        out, report = built
        records = records_of(out)
        assert len(records) == report.instances
        assert set(report.counts) == set(TASK_BUILDERS) == set(TASKS)
        for task, by_split in report.counts.items():
            for split, count in by_split.items():
                assert count == sum((record.task, record.split) == (task, split) for record in records)
        assert len({record.id for record in records}) == len({record.key for record in records}) == len(records)
        assert all(isinstance(value, str) for row in rows_of(out) for value in row.values())

    def test_pictures_are_named_by_their_content(self, built: tuple[Path, BuildReport]) -> None:
        out, report = built
        files = sorted((out / "images").iterdir())
        assert all(hashlib.sha256(file.read_bytes()).hexdigest() == file.stem for file in files)
        shown = {
            image.ref.path for record in records_of(out) for image in record.instance.images if image.ref is not None
        }
        assert sorted(path for path in shown if path is not None) == files
        assert report.pictures == len(files)
        assert sorted(path.name for path in out.iterdir()) == ["README.md", "dataset.jsonl", "images"]

    def test_each_product_has_its_own_picture(self, built: tuple[Path, BuildReport]) -> None:
        out, _ = built
        for record in records_of(out):
            for image in record.instance.images:
                if image.product is not None and record.task != "sentiment_analysis":
                    assert image.ref is not None
                    assert image.ref.path is not None
                    drawn = out.parent / f"p{int(image.product[1:])}.png"
                    assert image.ref.path.read_bytes() == drawn.read_bytes()

    def test_every_guarantee_about_the_splits_holds(self, built: tuple[Path, BuildReport]) -> None:
        _, report = built
        promised = [leak for leak in report.leaks if leak.promised]
        assert len(promised) == 7
        assert all(leak.kept for leak in promised)
        shown: dict[str, set[str]] = {}
        for record in records_of(built[0]):
            for image in record.instance.images:
                if image.product is not None:
                    shown.setdefault(image.product, set()).add(record.split)
        assert len(shown) == 40
        assert all(len(splits) == 1 for splits in shown.values())

    def test_the_card_describes_the_build(self, built: tuple[Path, BuildReport]) -> None:
        out, report = built
        card = (out / "README.md").read_text(encoding="utf-8")
        for task, by_split in report.counts.items():
            assert f"| {task} | {' | '.join(map(str, by_split.values()))} |" in card
        for source in report.sources:
            assert f"| {source.role} | {source.name} | {source.rows} | {source.sha256} |" in card
            path = out.parent / source.name
            assert hashlib.sha256(path.read_bytes()).hexdigest() == source.sha256
        assert "| products | 0 | none | holds |" in card
        assert "BROKEN" not in card
        assert f"{report.weak['multiclass_product_classification']} answers are weak labels" in card
        assert str(out.parent) not in card


class TestRepeatability:
    def test_the_order_of_rows_and_the_hash_seed_change_nothing(
        self, built: tuple[Path, BuildReport], tmp_path: Path
    ) -> None:
        out, _ = built
        catalogue, logs = write_sample_shop(tmp_path, shuffle=5)
        script = (
            "import json, sys; from pathlib import Path;"
            "from caslie_tools.data.building import BuildOptions, build_dataset;"
            "catalogue, out, logs, options = json.loads(sys.argv[1]);"
            "build_dataset(Path(catalogue), Path(out), logs={k: Path(v) for k, v in logs.items()},"
            " options=BuildOptions(**options))"
        )
        asked = [str(catalogue), str(tmp_path / "out"), {kind: str(path) for kind, path in logs.items()}]
        subprocess.run(
            [sys.executable, "-c", script, json.dumps([*asked, HALVES.model_dump(mode="json")])],
            env=os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)},
            check=True,
            timeout=HANG_SECONDS,
        )
        assert (tmp_path / "out" / "dataset.jsonl").read_bytes() == (out / "dataset.jsonl").read_bytes()
        assert self._without_sources(tmp_path / "out") == self._without_sources(out)

    def test_the_same_build_writes_the_same_bytes(self, built: tuple[Path, BuildReport], tmp_path: Path) -> None:
        out, report = built
        logs = {source.role: out.parent / source.name for source in report.sources if source.role != "catalogue"}
        build_dataset(out.parent / "products.csv", tmp_path, logs=logs, options=HALVES)
        for name in ("dataset.jsonl", "README.md"):
            assert (tmp_path / name).read_bytes() == (out / name).read_bytes()

    def test_pictures_of_an_earlier_build_are_removed_and_other_files_are_kept(
        self, built: tuple[Path, BuildReport], tmp_path: Path
    ) -> None:
        catalogue = built[0].parent / "products.csv"
        build_dataset(catalogue, tmp_path, options=BuildOptions(pictures="all"))
        kept = {tmp_path / "images" / name for name in ("mine.png", f"{'0' * 63}.png", ".hidden")}
        for path in kept:
            path.write_bytes(b"mine")
        before = set((tmp_path / "images").iterdir())
        report = build_dataset(catalogue, tmp_path, options=BuildOptions(tasks=("cc",)))
        after = set((tmp_path / "images").iterdir())
        assert kept < after < before
        assert len(after - kept) == report.pictures == 40

    def test_another_seed_gives_another_dataset(self, built: tuple[Path, BuildReport], tmp_path: Path) -> None:
        out, _ = built
        build_dataset(out.parent / "products.csv", tmp_path, options=HALVES.model_copy(update={"seed": 1}))
        mine = {row["input"]: (row["split"], row["options"]) for row in rows_of(tmp_path)}
        theirs = {row["input"]: (row["split"], row["options"]) for row in rows_of(out)}
        assert any(theirs[asked] != answer for asked, answer in mine.items())

    @staticmethod
    def _without_sources(out: Path) -> list[str]:
        """The card without the hashes of the sources, whose rows are in another order."""
        lines = (out / "README.md").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if ".csv |" not in line]


class TestFaults:
    REVIEWS = (
        {"product": "mug", "text": "Fine", "stars": 4, "image": "none.png"},
        {"product": "nowhere", "text": "Fine", "stars": 4},
    )

    def test_unusable_rows_and_pictures_are_reported_and_the_others_are_used(self, tmp_path: Path) -> None:
        catalogue = write_catalogue(tmp_path)
        with catalogue.open("a", encoding="utf-8") as file:
            file.write("mug,Twice,Kitchen,1,,\nbroken,Broken,Kitchen > Mugs,1,,broken.png\n")
        (tmp_path / "broken.png").write_bytes(b"no picture")
        logs = {"reviews": write_log(tmp_path / "reviews.csv", self.REVIEWS)}
        report = build_dataset(catalogue, tmp_path / "out", logs=logs)
        assert [(fault.source, fault.item, fault.reason) for fault in report.faults] == [
            ("catalogue.csv", "mug", "the row is not a valid product"),
            ("reviews.csv", "line 3", "the product is not in the catalogue"),
            ("catalogue.csv", "broken", "the picture cannot be read"),
            ("reviews.csv", "review of mug", "the picture cannot be read"),
        ]
        (review,) = (record for record in records_of(tmp_path / "out") if record.task == "sentiment_analysis")
        assert review.instance.images == ()
        assert "| reviews.csv | the product is not in the catalogue | 1 |" in (tmp_path / "out/README.md").read_text()

    def test_strict_stops_and_writes_nothing(self, tmp_path: Path) -> None:
        logs = {"reviews": write_log(tmp_path / "reviews.csv", self.REVIEWS)}
        with pytest.raises(DataError, match=r"reviews\.csv, line 3: the product is not in the catalogue: nowhere"):
            build_dataset(write_catalogue(tmp_path), tmp_path / "out", logs=logs, strict=True)
        assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize(
        ("choices", "message"),
        [
            ({"tasks": ("sa",)}, "sentiment_analysis needs a log of reviews, which is not given"),
            ({"hold_out_categories": ("Toys",)}, "no product is in the category 'Toys'"),
        ],
    )
    def test_options_that_the_sources_do_not_support_are_refused(
        self, tmp_path: Path, choices: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            build_dataset(write_catalogue(tmp_path), tmp_path / "out", options=BuildOptions(**choices))

    def test_a_registered_task_without_a_builder_is_refused_and_is_not_built_by_default(self, tmp_path: Path) -> None:
        catalogue = write_catalogue(tmp_path)
        with register_task(replace(get_task("cc"), name="shelf_choice", abbreviation="shelf")):
            with pytest.raises(DataError, match="shelf_choice cannot be built from logs; choose from answerab"):
                build_dataset(catalogue, tmp_path / "out", options=BuildOptions(tasks=("shelf_choice",)))
            assert list(build_dataset(catalogue, tmp_path / "out").counts) == ["category_classification"]

    def test_sources_that_yield_no_instance_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "bare.csv").write_text("id,title\na,A\n", encoding="utf-8")
        with pytest.raises(DataError, match="no instance can be built from it"):
            build_dataset(tmp_path / "bare.csv", tmp_path / "out")
        with pytest.raises(CatalogueError):
            build_dataset(tmp_path / "none.csv", tmp_path / "out")

    def test_a_picture_that_many_products_share_is_a_placeholder(self, tmp_path: Path) -> None:
        (tmp_path / "none.png").write_bytes(draw_picture("NO PICTURE", "grey"))
        rows = [{"id": f"p{n}", "title": f"T{n}", "category": f"C{n % 3}", "image": "none.png"} for n in range(30)]
        report = build_dataset(write_log(tmp_path / "p.csv", rows), tmp_path / "out")
        assert report.pictures == 0
        assert report.unpictured == {"category_classification": 30}
        assert [fault.reason for fault in report.faults] == ["a picture shared by this many products is a placeholder"]
        assert len({record.split for record in records_of(tmp_path / "out")}) > 1  # the products are not variants

    def test_a_picture_in_reviews_of_many_products_is_a_placeholder(self, tmp_path: Path) -> None:
        (tmp_path / "none.png").write_bytes(draw_picture("NO PICTURE", "grey"))
        rows = [{"id": f"p{n:02}", "title": f"T{n}", "category": f"C{n % 3}"} for n in range(40)]
        rows[0]["image"] = "none.png"
        reviews = [{"product": row["id"], "text": row["title"], "stars": 3, "image": "none.png"} for row in rows[15:]]
        twice = [{"product": "p15", "text": f"again {n}", "stars": 3, "image": "none.png"} for n in range(9)]
        for is_placeholder, written in ((False, reviews[:-1] + twice), (True, reviews)):  # 25 products, 26 products
            logs = {"reviews": write_log(tmp_path / "r.csv", written)}
            report = build_dataset(write_log(tmp_path / "p.csv", rows), tmp_path / "out", logs=logs)
            assert (report.pictures == 0) is is_placeholder
            faults = [("p.csv", "a picture shared by this many products is a placeholder")] * is_placeholder
            assert [(fault.source, fault.reason) for fault in report.faults] == faults

    def test_markup_in_names_from_the_shop_is_escaped_in_the_card(self, tmp_path: Path) -> None:
        sly = "A ![](https://evil.example/p.png) `code` <b>"
        rows = [{"id": f"p{n}", "title": f"T{n}", "category": (sly, "B")[n % 2]} for n in range(4)]
        build_dataset(
            write_log(tmp_path / "p.csv", rows), tmp_path / "out", options=BuildOptions(hold_out_categories=("B", sly))
        )
        card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
        escaped = r"A !\[\](https:\//evil.example/p.png) \`code\` \<b\>"
        assert f"Categories held out for the split `ood`: B; {escaped}." in card
        assert card.count("evil") == card.count(escaped) == 2

    def test_a_question_is_written_once_with_its_most_frequent_answer(self, tmp_path: Path) -> None:
        texts = [("same", 5), ("same", 5), ("same", 4), ("torn", 1), ("torn", 2), ("alone", 3)]
        rows = [{"product": "mug", "text": text, "stars": stars} for text, stars in texts]
        logs = {"reviews": write_log(tmp_path / "reviews.csv", rows)}
        report = build_dataset(
            write_catalogue(tmp_path), tmp_path / "out", logs=logs, options=BuildOptions(tasks=("sa",))
        )
        answers = {json.loads(row["input"])["review"]: row["output"] for row in rows_of(tmp_path / "out")}
        assert answers == {"same": "A", "alone": "C"}
        assert report.left_out["sentiment_analysis"] == {
            "duplicate question": 2,
            "the same question has different answers equally often": 2,
        }


class TestCaptions:
    QUESTIONS = (
        {"product": "bottle", "question": "Is the bottle green?", "answer": "Green"},
        {"product": "lamp", "question": "Is it waterproof?", "answerable": "no"},
    )

    def _build(self, folder: Path, caslie: Caslie, **choices: Any) -> BuildReport:
        logs = {"questions": write_log(folder / "questions.csv", self.QUESTIONS)}
        return build_dataset(
            write_catalogue(folder), folder / "out", logs=logs, pipeline=caslie.pipeline, profile="light", **choices
        )

    def test_each_instance_has_a_caption_for_its_context_and_the_jurys_verdict(self, tmp_path: Path) -> None:
        steps: list[tuple[str, int, int]] = []
        with Caslie.open(tmp_path / "store", profile=light_profile()) as caslie:
            report = self._build(
                tmp_path, caslie, progress=lambda step, item, done, total: steps.append((step, done, total))
            )
        records = {(record.task, record.instance.images[0].product): record for record in records_of(tmp_path / "out")}
        asked = records["product_qa", "bottle"]
        assert asked.captions == ("Colour: green. Label: 750 ML. (for: bottle green)",)
        votes = {row["id"]: json.loads(row["votes"]) for row in rows_of(tmp_path / "out")}
        assert votes[asked.id] == [True]
        assert votes[records["product_qa", "lamp"].id] == [False]
        assert report.captions is not None
        assert report.captions.captions == len(records) == 7
        assert report.captions.kept == sum(kept for row in votes.values() for kept in row)
        assert steps == [("captioning", 7, 7)]
        assert "Profile light, captioner light-captioner" in (tmp_path / "out" / "README.md").read_text()

    def test_a_resumed_build_makes_no_caption_twice(self, tmp_path: Path) -> None:
        captioners = [light_models().captioners[0] for _ in range(2)]
        for captioner in captioners:
            with Caslie.open(tmp_path / "store", profile=_profile(captioner=captioner)) as caslie:
                self._build(tmp_path, caslie)
        first, second = captioners
        assert isinstance(first, FunctionCaptioner)
        assert isinstance(second, FunctionCaptioner)
        assert (first.calls, second.calls) == (7, 0)
        assert 1 <= first.peak <= Settings.load().max_parallel_images

    @pytest.mark.parametrize("down", [EndpointUnavailableError("down"), ConnectionError("http://host/?key=secret")])
    def test_a_captioner_that_cannot_be_reached_stops_the_build(self, tmp_path: Path, down: Exception) -> None:
        with (
            Caslie.open(tmp_path / "store", profile=_profile(captioner=FunctionCaptioner(raising(down)))) as caslie,
            pytest.raises(EndpointUnavailableError) as stopped,
        ):
            self._build(tmp_path, caslie)
        assert "secret" not in str(stopped.value)
        assert not (tmp_path / "out" / "dataset.jsonl").exists()

    def test_a_judge_that_cannot_be_reached_stops_the_build(self, tmp_path: Path) -> None:
        judges = [*jury("yes", "yes"), FunctionJudge(raising(EndpointUnavailableError("down")), name="unreachable")]
        with (
            Caslie.open(tmp_path / "store", profile=_profile(judges=[*judges[::-1]])) as caslie,
            pytest.raises(EndpointUnavailableError, match="the judge unreachable cannot be reached"),
        ):
            self._build(tmp_path, caslie)

    @pytest.mark.parametrize(
        ("verdicts", "failing", "kept"),
        [(("yes",), 2, "[null]"), (("yes", "yes"), 1, "[true]"), (("abstain", "abstain"), 1, "[false]")],
    )
    def test_there_is_no_verdict_if_failed_judges_could_have_completed_the_quorum(
        self, tmp_path: Path, verdicts: tuple[Verdict, ...], failing: int, kept: str
    ) -> None:
        failed = [FunctionJudge(raising(ModelError("no reply")), name=f"failing-{n}") for n in range(failing)]
        with Caslie.open(tmp_path / "store", profile=_profile(judges=[*jury(*verdicts), *failed])) as caslie:
            report = self._build(tmp_path, caslie)
        assert {row["votes"] for row in rows_of(tmp_path / "out")} == {kept}
        assert report.captions is not None
        assert report.captions.captions == 7
        assert report.captions.unjudged == (7 if kept == "[null]" else 0)
        card = (tmp_path / "out" / "README.md").read_text()
        assert ("7 captions have no verdict" in card) is (kept == "[null]")

    def test_a_captioner_that_fails_leaves_the_caption_null(self, tmp_path: Path) -> None:
        failing = FunctionCaptioner(raising(ModelError("it has no reply")))
        with Caslie.open(tmp_path / "store", profile=_profile(captioner=failing)) as caslie:
            report = self._build(tmp_path, caslie)
        assert all(row["caption_info"] == row["votes"] == "[null]" for row in rows_of(tmp_path / "out"))
        assert report.captions is not None
        assert (report.captions.captions, report.captions.missing) == (0, 7)
        assert sum(report.captions.errors.values()) == 7
