"""A sample catalogue: 33 fictional products with drawn images.

The images of many products show a fact that the product's text lacks, such as text on a label or the colour. Other
images add nothing: an outline, a placeholder, a brand name or a warehouse. Some captions are therefore worth keeping
and others are not. :mod:`caslie_tools.sample.draw` draws the images and lists the facts in each image.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DemoQuestion:
    """A question about the sample catalogue with its expected answer."""

    question: str
    """The question as a shopper writes it."""
    product: str | None
    """Id of the product in question, or ``None`` for the whole catalogue."""
    where: str | None
    """Filter on the products, or ``None`` for no filter."""
    expected: str
    """Text that a correct answer or its citation contains, ignoring case and spaces."""
    answered_by: str
    """Id of the product whose evidence answers the question."""
    from_image: bool
    """Whether only an image contains the answer. If false, only the product's text contains it."""
    note: str
    """What the question demonstrates."""


DEMO_QUESTIONS: tuple[DemoQuestion, ...] = (
    DemoQuestion(
        question="Is the Trail headlamp waterproof?",
        product="trail-headlamp",
        where=None,
        expected="IP67",
        answered_by="trail-headlamp",
        from_image=True,
        note="Only the label in the first image has the answer. The second image shows the brightness.",
    ),
    DemoQuestion(
        question="How do I wash the Brook raincoat?",
        product="brook-raincoat",
        where=None,
        expected="40 °C",
        answered_by="brook-raincoat",
        from_image=False,
        note="The product's text has the answer. The image is a placeholder, so its caption must be rejected.",
    ),
    DemoQuestion(
        question="Which bottle holds 750 ml?",
        product=None,
        where="price < 50",
        expected="750 ml",
        answered_by="kelp-bottle",
        from_image=True,
        note="Only one label has the answer. The other bottles are smaller. The flask of this size costs more.",
    ),
)
"""The questions of the demo: a fact in an image, a fact in the text, and a search across the catalogue."""


def catalogue_path() -> Path:
    """Returns the path of the catalogue's CSV file. The image paths in it are relative to its folder."""
    return Path(__file__).with_name("products.csv")
