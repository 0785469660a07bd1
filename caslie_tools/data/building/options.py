"""The options of a build of instruction data."""

from typing import Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from caslie_tools.domain import FrozenModel
from caslie_tools.tasks import TASKS, get_task

Split: TypeAlias = Literal["train", "validation", "test", "ood"]
"""``ood`` is the out-of-domain test split: products of held-out categories."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "ood")

SplitBy: TypeAlias = Literal["product", "user", "query", "time"]


class BuildOptions(FrozenModel):
    """Options of a build. The same sources with the same options give the same bytes."""

    tasks: tuple[str, ...] = ()
    """Task names. Default: all tasks that the logs support."""
    seed: int = 0
    """Seed of all random choices."""
    proportions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Expected shares of train, validation and test. Instances are assigned by hash, so the actual shares vary."""
    split_by: SplitBy = "product"
    """What never appears in two splits. See :mod:`caslie_tools.data.building.splits`."""
    hold_out_categories: tuple[str, ...] = ()
    """Categories that appear only in the ``ood`` split, with their subcategories."""
    options: int = Field(default=20, ge=2, le=26)
    """Maximum number of answer options, for tasks whose instances have their own options."""
    withhold_title: bool = False
    """Whether category_classification gets an empty title, so that only the picture shows the product."""
    pictures: Literal["first", "any", "all"] = "first"
    """Which pictures of a product are used. ``first``: its first picture. ``any``: a random picture per instance;
    category_classification then has an instance per picture. ``all``: all pictures, if the task takes several."""
    placeholder_products: int = Field(default=25, ge=2)
    """A picture shared by more products than this is a placeholder. Placeholders are left out, and do not group
    products as variants."""
    support: int = Field(default=1, ge=1)
    """Number of baskets, or of days of one user, from which on two products count as related."""

    @field_validator("tasks")
    @classmethod
    def _full_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        requested = {get_task(name).name for name in names}
        return tuple(name for name in TASKS if name in requested)

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if min(self.proportions) < 0 or abs(sum(self.proportions) - 1) > 1e-6:
            raise ValueError("the proportions of train, validation and test must sum to 1, and none may be negative")
        return self
