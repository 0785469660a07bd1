"""The registry of tasks: the built-in tasks, and the tasks that users add."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import Final

from caslie_tools.exceptions import TaskDefinitionError, UnknownTaskError
from caslie_tools.tasks.definition import Task
from caslie_tools.tasks.mmecinstruct import MMECINSTRUCT
from caslie_tools.tasks.product_qa import PRODUCT_QA

_tasks: Final = {task.name: task for task in (*MMECINSTRUCT, PRODUCT_QA)}
_BUILT_IN: Final = frozenset(_tasks)
_registering: Final = Lock()

TASKS: Final[Mapping[str, Task]] = MappingProxyType(_tasks)
"""A read-only view of all tasks, by name: the built-in tasks first, then registered tasks in their order."""


def get_task(name: str) -> Task:
    """Returns a task by its name or its abbreviation.

    Raises:
        UnknownTaskError: If there is no such task.
    """
    for task in tuple(TASKS.values()):
        if name in (task.name, task.abbreviation):
            return task
    raise UnknownTaskError(f"there is no task {name!r}; choose one of: {', '.join(TASKS)}")


def register_task(task: Task) -> AbstractContextManager[Task]:
    """Adds a task. All of the package can use it at once: requests, tools made from now on, evaluation and data checks.

    The task stays registered until :func:`unregister_task` is called. To register it for a block only, use the result
    as a context manager::

        with register_task(CARE_LABEL):
            ...

    Raises:
        TaskDefinitionError: If another task has the same name or abbreviation.
    """
    with _registering:
        for other in _tasks.values():
            taken = {task.name, task.abbreviation} & {other.name, other.abbreviation}
            if taken:
                raise TaskDefinitionError(
                    f"the task {task.name!r} cannot be registered: the task {other.name!r} already has the name or "
                    f"abbreviation {min(taken)!r}; choose another one"
                )
        _tasks[task.name] = task
    return _Registration(task)


def unregister_task(name: str) -> None:
    """Removes a registered task, given by its name or abbreviation.

    Raises:
        UnknownTaskError: If there is no such task.
        TaskDefinitionError: If the task is built in.
    """
    task = get_task(name)
    if task.name in _BUILT_IN:
        raise TaskDefinitionError(f"the task {task.name!r} is built in and cannot be removed")
    with _registering:
        _tasks.pop(task.name, None)


class _Registration(AbstractContextManager[Task]):
    def __init__(self, task: Task) -> None:
        self._task = task

    def __enter__(self) -> Task:
        return self._task

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _registering:
            if _tasks.get(self._task.name) is self._task:  # the block may have removed it already
                del _tasks[self._task.name]
