"""A small catalogue to try things on: 33 made-up products with pictures drawn for it.

Many products carry a fact that stands only on a picture: text on a label, or the product's colour. Some pictures add
nothing: an outline, a placeholder, a brand's name, a warehouse. So captions are kept and rejected for good reasons.
:mod:`caslie_tools.sample.draw` draws the pictures and lists what each one tells.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DemoQuestion:
    """A question to the sample catalogue whose right answer is known."""

    question: str
    """As a shopper writes it."""
    product: str | None
    """Id of the product it is about, or ``None`` for the whole catalogue."""
    where: str | None
    """Filter on the products, or ``None``."""
    expected: str
    """What a right answer or its citation says, but for case and spaces."""
    answered_by: str
    """Id of the product whose evidence answers it."""
    from_picture: bool
    """Whether the answer stands only on a picture, or only in the product's text."""
    note: str
    """Why the question is asked."""


DEMO_QUESTIONS: tuple[DemoQuestion, ...] = (
    DemoQuestion(
        question="Is the Trail headlamp waterproof?",
        product="trail-headlamp",
        where=None,
        expected="IP67",
        answered_by="trail-headlamp",
        from_picture=True,
        note="Only the label on the first picture says so; the second picture, of the box, tells its brightness.",
    ),
    DemoQuestion(
        question="How do I wash the Brook raincoat?",
        product="brook-raincoat",
        where=None,
        expected="40 °C",
        answered_by="brook-raincoat",
        from_picture=False,
        note="The product's text says so; the picture is a placeholder, so its caption has to be rejected.",
    ),
    DemoQuestion(
        question="Which bottle holds 750 ml?",
        product=None,
        where="price < 50",
        expected="750 ml",
        answered_by="kelp-bottle",
        from_picture=True,
        note="Only one label says so; the other bottles' pictures do not help, and the flask of that size costs more.",
    ),
)
"""What the demo asks: a fact on a picture, a fact in the text, and a search across the catalogue."""


def catalogue_path() -> Path:
    """Returns the catalogue's CSV file; its pictures are given relative to it."""
    return Path(__file__).with_name("products.csv")
