"""Asks the embedded profile questions about three catalogues and judges its answers.

The questions are in ``benchmarks/question_files/``, one file per catalogue. A third needs the products' texts, a third
needs their pictures, and a third has no answer in either. The development half was looked at while the question
answering was written. The held-out half was written down before, and only its figures count.

An answer is right if it matches the accepted pattern, cites the right product and has at most 30 words. Any other
answer is wrong. A refusal is right if the question has no answer.

``python benchmarks/questions.py [--grocery FOLDER] [--half HALF] [--misses] [--out FILE]``. The groceries are those of
``benchmarks/grocery.py``; they are skipped without their folder.
"""

import argparse
import csv
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import heading
from PIL import Image, ImageDraw, ImageFont

from caslie_tools import Caslie
from caslie_tools.sample import catalogue_path

FOLDER = Path(__file__).with_name("question_files")
HALVES = ("development", "held-out")
KINDS = ("text", "picture", "none")
MAX_WORDS = 30
SIDE = 640


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question and what a right answer is."""

    catalogue: str
    half: str
    kind: str
    """``text``, ``picture`` or ``none``: where the answer is."""
    product: str
    """Id of the product in question, or empty for the whole catalogue."""
    question: str
    accepted: str
    """Pattern of a right answer. Empty if there is none."""
    cites: tuple[str, ...]
    """Ids of the products of which one must be cited."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A question with the answer that was given."""

    asked: Question
    answer: str
    verdict: str
    """``right``, ``wrong`` or ``refused``. A right refusal is ``right``."""


def read_questions(catalogue: str) -> Iterator[Question]:
    """Yields the questions about a catalogue."""
    with (FOLDER / f"{catalogue}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Question(
                catalogue=catalogue, half=row["half"], kind=row["kind"], product=row["product"],
                question=row["question"], accepted=row["accepted"],
                cites=tuple((row["cites"] or row["product"]).split("|")),
            )  # fmt: skip


def judge(question: Question, answer: str, *, answered: bool, cited: Sequence[str | None]) -> str:
    """Returns the verdict on an answer."""
    if not answered:
        return "right" if question.kind == "none" else "refused"
    fits = question.kind != "none" and re.search(question.accepted, answer, re.IGNORECASE)
    brief = len(answer.split()) <= MAX_WORDS
    return "right" if fits and brief and set(question.cites) & set(cited) else "wrong"


def draw_catalogue(folder: Path) -> Path:
    """Writes the mixed catalogue with a drawn picture of each product, and returns its file."""
    with (FOLDER / "mixed_pictures.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            draw_picture(row["shape"], row["colour"], row["lines"].split("|")).save(folder / f"{row['id']}.png")
    with (FOLDER / "mixed_products.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    path = folder / "products.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "image"])
        writer.writeheader()
        writer.writerows(row | {"image": f"{row['id']}.png"} for row in rows)
    return path


def draw_picture(shape: str, colour: str, lines: Sequence[str]) -> Image.Image:
    """Draws a pack or a label of a colour, with lines of print."""
    image = Image.new("RGB", (SIDE, SIDE), "#f3f0e9")
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = {
        "bottle": (190, 140, 450, 610), "bag": (110, 60, 530, 600), "box": (70, 150, 570, 520),
        "bucket": (130, 140, 510, 590), "tag": (150, 120, 490, 600),
    }[shape]  # fmt: skip
    if shape == "bottle":
        draw.rectangle((265, 60, 375, 140), fill="#ffffff", outline="#999999", width=3)
    if shape == "bucket":
        draw.arc((150, 40, 490, 260), 180, 360, fill="#888888", width=8)
    if shape == "tag":
        draw.line((SIDE / 2, 20, SIDE / 2, top + 30), fill="#777777", width=5)
    draw.rounded_rectangle((left, top, right, bottom), radius=24, fill=colour)
    dark = sum(int(colour[index : index + 2], 16) for index in (1, 3, 5)) < 420
    texts = [line for line in lines if line]
    for index, line in enumerate(texts):
        font = ImageFont.load_default(52)
        if (width := draw.textlength(line, font=font)) > right - left - 30:
            font = ImageFont.load_default(52 * (right - left - 30) / width)
        middle = (top + bottom) / 2 + 76 * (index - (len(texts) - 1) / 2)
        draw.text((SIDE / 2, middle), line, fill="#ffffff" if dark else "#202020", font=font, anchor="mm")
    return image


def ask(catalogue: str, path: Path, store: Path, halves: Sequence[str]) -> Iterator[Judged]:
    """Indexes a catalogue and asks its questions."""
    with Caslie.open(store) as caslie:
        caslie.index(path)
        for question in read_questions(catalogue):
            if question.half not in halves:
                continue
            response = caslie.ask(question.question, products=[question.product] if question.product else [])
            prediction = response.prediction
            verdict = judge(
                question,
                response.answer or "",
                answered=prediction.answerable is True,
                cited=[citation.product for citation in prediction.citations],
            )
            yield Judged(asked=question, answer=response.answer or "", verdict=verdict)


def table(judged: Sequence[Judged]) -> Iterator[str]:
    """Yields the lines of the summary in Markdown."""
    yield "| half | questions | answerable right | answerable refused | unanswerable refused | wrong |"
    yield "|---|---|---|---|---|---|"
    for half in HALVES:
        for label, kinds in {"all": KINDS, "text": ("text",), "picture": ("picture",), "none": ("none",)}.items():
            own = [item for item in judged if item.asked.half == half and item.asked.kind in kinds]
            if not own:
                continue
            answerable = Counter(item.verdict for item in own if item.asked.kind != "none")
            without = Counter(item.verdict for item in own if item.asked.kind == "none")
            wrong = answerable["wrong"] + without["wrong"]
            yield (
                f"| {half}, {label} | {len(own)} | {_share(answerable['right'], answerable.total())} "
                f"| {_share(answerable['refused'], answerable.total())} | {_share(without['right'], without.total())} "
                f"| {_share(wrong, len(own))} |"
            )


def listing(judged: Sequence[Judged], *, misses: bool = False) -> Iterator[str]:
    """Yields the answers as a table in Markdown."""
    yield "| half | kind | about | question | answer | verdict |"
    yield "|---|---|---|---|---|---|"
    for item in judged:
        if not misses or item.verdict != "right":
            asked = item.asked
            about = f"{asked.catalogue}: {asked.product or 'all products'}"
            cells = (asked.half, asked.kind, about, asked.question, item.answer, item.verdict)
            yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _share(part: int, whole: int) -> str:
    return f"{part}/{whole} ({part / whole:.0%})" if whole else ""


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grocery", type=Path, help="folder of the groceries, with products.csv")
    parser.add_argument("--half", choices=HALVES, help="ask one half only")
    parser.add_argument("--misses", action="store_true", help="print the answers that are not right")
    parser.add_argument("--out", type=Path, help="file to write the figures and all judged answers to")
    parser.add_argument("--stores", type=Path, help="folder that keeps the indexed stores for the next run")
    arguments = parser.parse_args()
    start = time.monotonic()
    halves = (arguments.half,) if arguments.half else HALVES
    folder = Path(tempfile.mkdtemp())
    stores = arguments.stores or folder / "stores"
    stores.mkdir(parents=True, exist_ok=True)
    paths = {"sample": catalogue_path(), "mixed": draw_catalogue(folder)}
    if arguments.grocery is not None and (arguments.grocery / "products.csv").exists():
        paths["grocery"] = arguments.grocery / "products.csv"
    judged = [item for name, path in paths.items() for item in ask(name, path, stores / name, halves)]
    shutil.rmtree(folder)
    lines = [heading(), "", *table(judged)]
    print("\n".join([*lines, f"\n{time.monotonic() - start:.0f} s"]))
    if arguments.misses:
        print("\n".join(listing(judged, misses=True)))
    if arguments.out is not None:
        text = "\n".join(["# Judged answers of the question benchmark", "", *lines, "", *listing(judged)])
        arguments.out.write_text(text + "\n", encoding="utf-8")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
