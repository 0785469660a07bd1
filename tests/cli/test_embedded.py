"""The commands end to end, with the models of the extra ``embedded``."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from caslie_tools.sample import DEMO_QUESTIONS
from tests.cli.commands import EmbeddedCommand
from tests.paths import GROCERY, needs_grocery


def normalized(text: str) -> str:
    """Returns a text without spaces and without upper case."""
    return "".join(text.casefold().split())


class TestDemo:
    def test_every_question_is_answered_with_the_expected_evidence(self, sample_demo: tuple[Path, Any]) -> None:
        _, document = sample_demo
        assert len(document["answers"]) == len(DEMO_QUESTIONS) == 3
        for asked, answer in zip(DEMO_QUESTIONS, document["answers"], strict=True):
            assert answer["question"] == asked.question
            assert answer["answerable"] is True
            correct = [
                citation
                for citation in answer["citations"]
                if normalized(asked.expected) in normalized(citation["quote"])
                and citation["product"] == asked.answered_by
            ]
            assert correct, answer["citations"]
            assert {citation["field"] == "caption" for citation in correct} == {asked.from_image}
            assert normalized(asked.expected) in normalized(answer["answer"])
            assert answer["warnings"] == []

    def test_captions_are_kept_and_rejected(self, sample_demo: tuple[Path, Any]) -> None:
        _, document = sample_demo
        captions = [caption for answer in document["answers"] for caption in answer["captions"]]
        assert {caption["kept"] for caption in captions} == {True, False}
        assert all(caption["votes"] for caption in captions)
        for answer in document["answers"]:
            for caption in answer["captions"]:
                # The fused text contains exactly the captions that were kept.
                quoted = caption["text"].replace('"', '\\"')
                assert (quoted in answer["fused"]) is caption["kept"]

    def test_the_second_run_uses_the_stored_captions(
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


@needs_grocery
class TestGrocery:
    def test_all_product_photos_are_indexed_only_once(
        self, embedded_caslie: EmbeddedCommand, grocery: tuple[Path, Any]
    ) -> None:
        store, report = grocery
        assert (report["products"], report["images"], report["captions_made"]) == (81, 81, 81)
        assert report["failed"] == []
        again = embedded_caslie("index", GROCERY / "products.csv", "--store", store)
        assert (again["captions_made"], again["captions_reused"], again["skipped"]) == (0, 81, 81)

    def test_an_answer_cites_the_caption_it_is_based_on(
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
    def test_the_image_of_a_product_finds_that_product(
        self, embedded_caslie: EmbeddedCommand, grocery: tuple[Path, Any], product: str
    ) -> None:
        picture = GROCERY / "images" / f"{product}.jpg"
        hits = embedded_caslie("search", "--image", picture, "--store", grocery[0], "-n", "1")["products"]
        assert [hit["product"]["id"] for hit in hits] == [product]
