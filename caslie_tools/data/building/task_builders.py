"""Registers the builder of each task, and the log that it needs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from caslie_tools.data.building.catalogue_tasks import category_classification
from caslie_tools.data.building.drafts import Draft, LeftOut
from caslie_tools.data.building.event_tasks import product_relation_prediction, sequential_recommendation
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.question_tasks import answerability_prediction, product_qa
from caslie_tools.data.building.review_tasks import sentiment_analysis
from caslie_tools.data.building.search_tasks import multiclass_product_classification, product_substitute_identification
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.splits import Splitter

BuildDrafts: TypeAlias = Callable[[ShopData, Splitter, BuildOptions], Iterator[Draft | LeftOut]]


@dataclass(frozen=True)
class TaskBuilder:
    """Builds the drafts of one task."""

    build: BuildDrafts
    log: str | None = None
    """The log that the task needs. ``None`` if it needs only the catalogue."""


TASK_BUILDERS: Mapping[str, TaskBuilder] = {
    "answerability_prediction": TaskBuilder(answerability_prediction, log="questions"),
    "category_classification": TaskBuilder(category_classification),
    "product_relation_prediction": TaskBuilder(product_relation_prediction, log="events"),
    "product_substitute_identification": TaskBuilder(product_substitute_identification, log="searches"),
    "multiclass_product_classification": TaskBuilder(multiclass_product_classification, log="searches"),
    "sentiment_analysis": TaskBuilder(sentiment_analysis, log="reviews"),
    "sequential_recommendation": TaskBuilder(sequential_recommendation, log="events"),
    "product_qa": TaskBuilder(product_qa, log="questions"),
}
"""By task name."""
