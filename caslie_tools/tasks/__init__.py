"""The tasks: seven of MMECInstruct's and open product questions.

Adding a task is adding one :class:`Task` to :data:`TASKS`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from caslie_tools.exceptions import UnknownTaskError
from caslie_tools.tasks.definition import (
    FusedCaption,
    FusedInstance,
    Instance,
    Metric,
    Picture,
    Place,
    PlacedImage,
    Target,
    Task,
)
from caslie_tools.tasks.mmecinstruct import MMECINSTRUCT
from caslie_tools.tasks.product_qa import PRODUCT_QA, product_question

__all__ = [
    "MMECINSTRUCT",
    "PRODUCT_QA",
    "TASKS",
    "FusedCaption",
    "FusedInstance",
    "Instance",
    "Metric",
    "Picture",
    "Place",
    "PlacedImage",
    "Target",
    "Task",
    "get_task",
    "product_question",
]

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in (*MMECINSTRUCT, PRODUCT_QA)})
"""Every task by name."""


def get_task(name: str) -> Task:
    """Returns a task by its name or the paper's abbreviation.

    Raises:
        UnknownTaskError: If there is none.
    """
    for task in TASKS.values():
        if name in (task.name, task.short):
            return task
    raise UnknownTaskError(f"there is no task {name!r}; choose one of: {', '.join(TASKS)}")
