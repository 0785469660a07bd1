"""Compares captions that the embedded captioner makes for a question with plain ones, by the kind of question.

``python benchmarks/question_kinds.py DATA [--half HALF] [--misses]``

DATA is the folder of the photos, with the folders ``grocery`` and ``clothing``. The questions are in
``benchmarks/question_files/kinds.csv``, each with its picture: a packshot or a shelf photo of groceries, a phone photo
of clothes, a picture of the sample catalogue, or, where no photo shows the answer, a drawn label
(``shape|colour|line|line``). The development half was looked at while the captioner was changed. The held-out half was
written down before it was asked.

A caption is right if it says what was asked for: the pattern ``accepted`` matches, and the pattern ``rejected``, the
wrong alternative, does not match before it. Plain captions are made for no question and no product.
"""

import argparse
import csv
import io
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import heading
from questions import FOLDER, HALVES, draw_picture

from caslie_tools.backends.embedded.captioner import EmbeddedCaptioner
from caslie_tools.backends.embedded.image_analysis import ImageAnalyser
from caslie_tools.backends.embedded.image_classifier import ImageClassifier
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.backends.embedded.text_recognition import TextReader
from caslie_tools.domain import ImageRef, Product, QueryContext
from caslie_tools.images.loading import ImageLoader, LoadedImage
from caslie_tools.roles.interfaces import CaptionRequest
from caslie_tools.sample import catalogue_path
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import PRODUCT_QA
from caslie_tools.tasks.product_qa import product_question


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about a picture, and what a caption must say to help."""

    half: str
    kind: str
    source: str
    picture: str
    """The path in the folder of the source, or what to draw."""
    title: str
    """What is known about the product."""
    question: str
    accepted: str
    rejected: str

    @property
    def context(self) -> QueryContext:
        """The context of a caption that is made for the question."""
        instance = product_question(self.question, [Product(id="asked", title=self.title)])
        return PRODUCT_QA.places(instance)[0].context


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A question with the two captions of its picture."""

    asked: Question
    plain: str
    conditioned: str


def read_questions() -> list[Question]:
    """Returns the questions in the order of the file."""
    with (FOLDER / "kinds.csv").open(encoding="utf-8", newline="") as file:
        return [Question(**row) for row in csv.DictReader(file)]


def is_right(question: Question, caption: str) -> bool:
    """Returns whether a caption says what was asked for, before it names the wrong alternative."""
    right = re.search(question.accepted, caption, re.IGNORECASE)
    wrong = question.rejected and re.search(rf"\b{question.rejected}\b", caption, re.IGNORECASE)
    return right is not None and not (wrong and wrong.start() < right.start())


def load(question: Question, folders: dict[str, Path]) -> LoadedImage:
    """Returns the picture of a question."""
    loader = ImageLoader()
    if question.source != "drawn":
        return loader.load_sync(ImageRef(path=folders[question.source] / question.picture))
    shape, colour, *lines = question.picture.split("|")
    file = io.BytesIO()
    draw_picture(shape, colour, lines).save(file, "PNG")
    return loader.load_sync(ImageRef(data=file.getvalue()))


def compare(questions: Sequence[Question], folders: dict[str, Path]) -> Iterator[Compared]:
    """Captions the picture of each question for the question and without any."""
    embeddings = MiniLMEmbeddings()
    with tempfile.TemporaryDirectory() as folder, CaptionStore.open(Path(folder) / "store", embeddings) as store:
        captioner = EmbeddedCaptioner(ImageAnalyser(ImageClassifier(), TextReader(), store), embeddings)
        for question in questions:
            image = load(question, folders)
            plain, conditioned = (
                captioner.invoke(CaptionRequest(image=image, context=context)).text
                for context in (QueryContext(task="any"), question.context)
            )
            yield Compared(asked=question, plain=plain, conditioned=conditioned)


def table(compared: Sequence[Compared]) -> Iterator[str]:
    """Yields the lines of the table in Markdown: how many captions are right, and how long they are."""
    yield "| kind of question | questions | plain | conditioned | only plain | words, plain | words, conditioned |"
    yield "|---|---|---|---|---|---|---|"
    for kind in [*dict.fromkeys(each.asked.kind for each in compared), "all"]:
        own = [each for each in compared if kind in (each.asked.kind, "all")]
        plain = [is_right(each.asked, each.plain) for each in own]
        conditioned = [is_right(each.asked, each.conditioned) for each in own]
        lost = sum(before and not after for before, after in zip(plain, conditioned, strict=True))
        words = [sum(len(text.split()) for text in texts) / len(own) for texts in (
            [each.plain for each in own], [each.conditioned for each in own],
        )]  # fmt: skip
        cells = (kind, len(own), sum(plain), sum(conditioned), lost, *(f"{count:.0f}" for count in words))
        yield f"| {' | '.join(map(str, cells))} |"


def misses(compared: Sequence[Compared]) -> Iterator[str]:
    """Yields the conditioned captions that are not right, beside the plain ones."""
    for each in compared:
        if not is_right(each.asked, each.conditioned):
            mark = "LOST" if is_right(each.asked, each.plain) else "both"
            asked = each.asked
            yield f"{mark} [{asked.kind}] {asked.picture}: {asked.question} -> {each.conditioned} // {each.plain}"


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the folders grocery and clothing")
    parser.add_argument("--half", choices=HALVES, help="ask one half only")
    parser.add_argument("--misses", action="store_true", help="print the captions that do not say what was asked for")
    arguments = parser.parse_args()
    start = time.monotonic()
    folders = {"sample": catalogue_path().parent / "images"}
    folders |= {name: arguments.data / name for name in ("grocery", "clothing")}
    asked = [question for question in read_questions() if arguments.half in (None, question.half)]
    compared = list(compare(asked, folders))
    print(heading())
    for half in HALVES:
        if own := [each for each in compared if each.asked.half == half]:
            print("\n".join(["", f"{half}:", "", *table(own)]))
    print(f"\n{time.monotonic() - start:.0f} s")
    if arguments.misses:
        print("\n".join(misses(compared)))


if __name__ == "__main__":
    main()
