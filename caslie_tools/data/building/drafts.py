"""Drafts: instances that have not been written yet, and the reasons why some are left out."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias

from caslie_tools.data.building.options import Split
from caslie_tools.data.building.seeded_random import stable_hash
from caslie_tools.tasks.answers import option_text

ProductPicture: TypeAlias = tuple[str | None, str | None]
"""A picture's SHA-256 (hex) and the id of the catalogue product that it shows. A missing picture or product is
``None``."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An instance before it is assigned to a split and written."""

    task: str
    input: Any
    output: str
    options: tuple[str, ...] = ()
    """Empty if the task has fixed options."""
    pictures: tuple[ProductPicture, ...] = ()
    """One per product in the input. If the input has a single product, any number."""
    products: tuple[str, ...]
    """Ids of all products in the instance."""
    users: tuple[str, ...] = ()
    """Ids of all users whose log rows the instance is built from."""
    query: str = ""
    times: tuple[datetime | None, ...] = ()
    """The time of each log row that determines the answer. ``None`` for a row without a time."""
    logged: bool = True
    """Whether the instance is built from log rows. An instance built from the catalogue alone has no time."""
    weak: bool = False
    """Whether the answer is a weak label: inferred from behaviour, not given by a person."""

    @property
    def time(self) -> datetime | None:
        """The time of the latest log row. From this time on, the answer is fully determined."""
        return max((time for time in self.times if time is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A candidate that yields no instance, and the reason."""

    task: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PlacedDraft:
    """A draft and its split."""

    draft: Draft
    split: Split

    @cached_property
    def key(self) -> str:
        """SHA-256 (hex) of the question. It does not depend on the order of the options, or on the answer."""
        options = sorted(option_text(option) for option in self.draft.options)
        pictures = sorted(str(picture) for picture, _ in self.draft.pictures)
        return stable_hash(self.draft.task, self.draft.input, options, pictures)
