"""The tasks: the seven of MMECInstruct, open product questions, and tasks that users register.

A task is defined by one :class:`Task`. :func:`register_task` adds it. No module outside this package asks which task it
has: what differs between tasks is a field of the definition. These are the exceptions, which name a task on purpose:

- :mod:`caslie_tools.data.building` has one builder for each built-in task, because a builder knows which logs of a shop
  support its task.
- A request without a task is an open product question (``product_qa``), and so are the questions that the tools
  ``caption_product_image`` and ``judge_caption`` get.
"""

from caslie_tools.tasks.definition import Decision, Metric, Task
from caslie_tools.tasks.instances import FusedCaption, FusedInstance, Instance, PlacedImage
from caslie_tools.tasks.mmecinstruct import MMECINSTRUCT
from caslie_tools.tasks.places import ImageSlot, Place, Target
from caslie_tools.tasks.product_qa import PRODUCT_QA, product_question
from caslie_tools.tasks.registry import TASKS, get_task, register_task, unregister_task

__all__ = [
    "MMECINSTRUCT",
    "PRODUCT_QA",
    "TASKS",
    "Decision",
    "FusedCaption",
    "FusedInstance",
    "ImageSlot",
    "Instance",
    "Metric",
    "Place",
    "PlacedImage",
    "Target",
    "Task",
    "get_task",
    "product_question",
    "register_task",
    "unregister_task",
]
