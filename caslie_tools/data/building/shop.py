"""What a shop's sources hold once they are read: the ground every task's builder works on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias

from caslie_tools.data.building.logs import Event, Question, Review, Search
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.seeding import draw
from caslie_tools.domain import ImageRef, Product

Shown: TypeAlias = tuple[str | None, str | None]
"""A picture's SHA-256 (hex) and the catalogue product it shows; ``None`` for a missing one, or for no product."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An instance before it is placed in a split and written."""

    task: str
    input: Any
    output: str
    options: tuple[str, ...] = ()
    """Empty for the task's own."""
    pictures: tuple[Shown, ...] = ()
    """One per place, or any number if the task has a single place."""
    products: tuple[str, ...]
    """Every product it speaks of."""
    users: tuple[str, ...] = ()
    """Everybody whose rows stand behind it."""
    query: str = ""
    times: tuple[datetime | None, ...] = ()
    """When each row that makes its answer was written; ``None`` where the log does not say."""
    logged: bool = True
    """Whether a log's row stands behind it; what only the catalogue tells has no time."""
    is_history: bool = False
    """Whether it is the purchase history of its users."""
    categories: tuple[str, ...] = ()
    """The categories among its options, by their short names."""
    weak: bool = False
    """Whether its answer was concluded from behaviour, not given by a person."""

    @property
    def time(self) -> datetime | None:
        """When the last of its rows was written: all of it is known from then on."""
        return max((time for time in self.times if time is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Something the sources hold that gives no instance."""

    task: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A catalogue and its logs."""

    products: Mapping[str, Product]
    """By id, in the order of ids."""
    pictures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """SHA-256 (hex) of a product's pictures, by its id, without missing ones and placeholders."""
    review_pictures: Mapping[ImageRef, str] = field(default_factory=dict)
    """SHA-256 (hex) of the reviews' own pictures."""
    searches: Sequence[Search] = ()
    reviews: Sequence[Review] = ()
    questions: Sequence[Question] = ()
    events: Sequence[Event] = ()

    @cached_property
    def categories(self) -> Mapping[str, str]:
        """The categories' short names, by path: the last part, or all of it where two share the last part."""
        paths = sorted({category_path(product) for product in self.products.values()} - {""})
        last = [path.rsplit(" > ", 1)[-1] for path in paths]
        return {path: name if last.count(name) == 1 else path for path, name in zip(paths, last, strict=True)}

    def shown(self, product: str, options: BuildOptions, *identity: object) -> tuple[Shown, ...]:
        """Returns a product's pictures for an instance that takes any number."""
        if options.pictures == "all":
            return tuple((picture, product) for picture in self.pictures.get(product, ()))
        one = self.shown_once(product, options, *identity)
        return (one,) if one[0] else ()

    def shown_once(self, product: str, options: BuildOptions, *identity: object) -> Shown:
        """Returns the one picture of a product for an instance that shows several products."""
        own = self.pictures.get(product, ())
        if not own:
            return None, product
        if options.pictures != "any":
            return own[0], product
        return draw(options.seed, "picture", product, *identity).choice(sorted(own)), product

    def tells(self, product: str) -> bool:
        """Whether a title or a picture tells anything of a product."""
        return bool(self.products[product].title or self.pictures.get(product))


def category_path(product: Product) -> str:
    """Returns a product's category, its parts separated alike."""
    return " > ".join(part.strip() for part in product.category.split(">") if part.strip())
