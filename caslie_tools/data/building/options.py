"""What can be chosen when instruction data is built."""

from typing import Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from caslie_tools.domain import FrozenModel
from caslie_tools.tasks import TASKS, get_task

Split: TypeAlias = Literal["train", "validation", "test", "ood"]
"""``ood`` is the out-of-domain test split: products of held-out categories."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "ood")

SplitBy: TypeAlias = Literal["product", "user", "query", "time"]


class BuildOptions(FrozenModel):
    """The choices; equal sources and equal choices give equal bytes."""

    tasks: tuple[str, ...] = ()
    """Names; by default every task the logs support."""
    seed: int = 0
    """Of everything that is drawn."""
    proportions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, validation and test; they are met in expectation, by hash."""
    split_by: SplitBy = "product"
    """What never stands in two splits: see :mod:`caslie_tools.data.building.splits`."""
    hold_out_categories: tuple[str, ...] = ()
    """Categories, with those below them, that only the ``ood`` split sees."""
    options: int = Field(default=20, ge=2, le=26)
    """Most options of an instance that brings its own."""
    withhold_title: bool = False
    """Whether category_classification gets an empty title, so that the picture has to tell."""
    pictures: Literal["first", "any", "all"] = "first"
    """Of a product's pictures: its first; one drawn for every instance (category_classification then asks about each);
    or all of them, where a task takes several."""
    placeholder_products: int = Field(default=25, ge=2)
    """A picture that more products share is a placeholder: it is left out, and makes nobody a variant of another."""
    support: int = Field(default=1, ge=1)
    """How many baskets, or days of one user, make two products related."""

    @field_validator("tasks")
    @classmethod
    def _full_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        asked = {get_task(name).name for name in names}
        return tuple(name for name in TASKS if name in asked)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if min(self.proportions) < 0 or abs(sum(self.proportions) - 1) > 1e-6:
            raise ValueError("the proportions of train, validation and test are shares that sum to 1")
        return self
