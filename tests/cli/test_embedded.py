"""The main job end to end, on the models that come with the extra ``embedded``."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.sample import DEMO_QUESTIONS
from tests.conftest import EmbeddedCommand
from tests.paths import GROCERY


def said(text: str) -> str:
    return "".join(text.casefold().split())


class TestDemo:
    def test_every_question_is_answered_by_what_is_known_to_answer_it(self, sample_demo: tuple[Path, Any]) -> None:
        _, document = sample_demo
        assert len(document["answers"]) == len(DEMO_QUESTIONS) == 3
        for asked, answer in zip(DEMO_QUESTIONS, document["answers"], strict=True):
            assert answer["question"] == asked.question
            assert answer["answerable"] is True
            right = [
                citation
                for citation in answer["citations"]
                if said(asked.expected) in said(citation["quote"]) and citation["product"] == asked.answered_by
            ]
            assert right, answer["citations"]
            assert {citation["field"] == "caption" for citation in right} == {asked.from_picture}
            assert said(asked.expected) in said(answer["answer"])
            assert answer["warnings"] == []

    def test_captions_are_kept_and_rejected(self, sample_demo: tuple[Path, Any]) -> None:
        _, document = sample_demo
        captions = [caption for answer in document["answers"] for caption in answer["captions"]]
        assert {caption["kept"] for caption in captions} == {True, False}
        assert all(caption["votes"] for caption in captions)
        for answer in document["answers"]:
            for caption in answer["captions"]:
                # Nothing of a rejected caption is used.
                quoted = caption["text"].replace('"', '\\"')
                assert (quoted in answer["fused"]) is caption["kept"]

    def test_the_second_time_everything_comes_from_the_store(
        self, embedded_caslie: EmbeddedCommand, sample_demo: tuple[Path, Any], tmp_path: Path
    ) -> None:
        store, first = sample_demo
        shutil.copytree(store, tmp_path / "store")
        second = embedded_caslie("demo", "--store", tmp_path / "store")
        assert first["indexed"]["captions_made"] == first["indexed"]["images"]
        assert second["indexed"]["captions_made"] == 0
        assert second["indexed"]["skipped"] == second["indexed"]["products"]
        captions = [caption for answer in second["answers"] for caption in answer["captions"]]
        assert {caption["source"] for caption in captions} == {"cache"}
        assert [answer["answer"] for answer in second["answers"]] == [answer["answer"] for answer in first["answers"]]


class TestGrocery:
    def test_all_packshots_are_indexed_once(self, embedded_caslie: EmbeddedCommand, grocery: tuple[Path, Any]) -> None:
        store, report = grocery
        assert (report["products"], report["images"], report["captions_made"]) == (81, 81, 81)
        assert report["failed"] == []
        again = embedded_caslie("index", GROCERY / "products.csv", "--store", store)
        assert (again["captions_made"], again["captions_reused"], again["skipped"]) == (0, 81, 81)

    def test_an_apple_juice_is_named_with_where_that_was_read(
        self, embedded_caslie: EmbeddedCommand, grocery: tuple[Path, Any], tmp_path: Path
    ) -> None:
        shutil.copytree(grocery[0], tmp_path / "store")
        response = embedded_caslie("ask", "Which juice is made from apples?", "--store", tmp_path / "store")
        assert response["answerable"] is True
        assert "Apple Juice" in response["answer"]
        assert response["citations"]
        for citation in response["citations"]:
            assert citation["product"].endswith("Apple-Juice")
            assert "apple" in citation["quote"].lower()

    @pytest.mark.parametrize("product", ["Bravo-Apple-Juice"])
    def test_a_picture_finds_its_own_product(
        self, embedded_caslie: EmbeddedCommand, grocery: tuple[Path, Any], product: str
    ) -> None:
        picture = GROCERY / "images" / f"{product}.jpg"
        hits = embedded_caslie("search", "--image", picture, "--store", grocery[0], "-n", "1")["products"]
        assert [hit["product"]["id"] for hit in hits] == [product]
