"""One record of instruction data in MMECInstruct's form (paper, section on the dataset), read and validated.

A record's fields are strings: ``instruction``, ``input`` (JSON text), ``options`` (JSON text), ``output``, ``task``,
``split``, ``images`` (JSON list of URLs, or of paths relative to the file) and ``caption_info`` (JSON list of ready
captions, in the order of the images). JSON values in the place of JSON text are taken as well. Ours may hold
``products`` too, the ids of the catalogue products the images show, and ``votes``, the jury's verdict on each caption
(JSON list of true or false, or "yes" or "no", or null for none); whatever else a record holds is ignored.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caslie_tools.domain import FrozenModel, ImageRef
from caslie_tools.exceptions import InstanceError, UnknownTaskError
from caslie_tools.tasks import Instance, Task, get_task

_NO_CAPTION = frozenset({"", "na", "n/a", "none", "null"})
"""What the published data and the reference code write where there is no caption."""
_VERDICTS = {True: True, False: False, "yes": True, "no": False, None: None}
_SHOWN_CHARACTERS = 60


class Record(FrozenModel):
    """A record that fits its task."""

    index: int
    """Its place in the source, from 0."""
    key: str
    """SHA-256 (hex) of all that it asks and of its right answer: two records with one key are duplicates."""
    id: str = ""
    """Its own id, where it has one."""
    split: str
    instance: Instance
    """With its images placed; ``output`` is the right answer: a label, or a text for an open question."""
    captions: tuple[str | None, ...] | None = None
    """Ready captions, one per image; ``None`` in it for a missing one, and ``None`` for a record without any."""
    kept: tuple[bool | None, ...] | None = None
    """Whether the jury keeps each caption (field ``votes``); ``None`` where it did not vote, in it or instead of it."""

    @property
    def task(self) -> str:
        """The task's name."""
        return self.instance.task

    @property
    def output(self) -> str:
        """The right answer."""
        assert self.instance.output is not None  # noqa: S101 (a record without one is refused)
        return self.instance.output


class BadRecord(FrozenModel):
    """A record that cannot be used, and why."""

    index: int
    """Its place in the source, from 0."""
    reason: str


def read_record(index: int, raw: Any, *, base: Path | None = None, trust_paths: bool = False) -> Record:
    """Reads one record.

    Args:
        index: Its place in the source, from 0.
        raw: The record as JSON has it.
        base: Folder that image paths are relative to, and must not lead out of. Without one, images are URLs.
        trust_paths: Whether image paths may lead anywhere. Only for data of your own: a downloaded record could name
            any picture of this machine.

    Raises:
        InstanceError: If it does not fit its task; the message says what is wrong, not with which record.
    """
    if not isinstance(raw, Mapping):
        raise InstanceError("it is not an object")
    try:
        return _read(index, raw, base, trust_paths)
    except RecursionError as error:
        raise InstanceError("it is nested too deeply") from error


def json_list(raw: Mapping[str, Any], field: str) -> list[Any]:
    """Returns a field that is a list, or JSON text of one; empty where the record lacks it.

    Raises:
        InstanceError: If it is neither.
    """
    value = raw.get(field)
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except (ValueError, RecursionError) as error:
            raise InstanceError(f"{field} is not JSON") from error
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise InstanceError(f"{field} is not a list")
    return list(value)


def image_location(ref: ImageRef | None, base: Path | None) -> str | None:
    """Returns an image as a record in the folder ``base`` names it: a URL, or a path from there."""
    if ref is None or ref.path is None:
        return ref.url if ref is not None else None
    if base is None or ref.path.is_relative_to(base):  # with any `..` in it left alone: what is before may be a link
        return (ref.path if base is None else ref.path.relative_to(base)).as_posix()
    return Path(os.path.relpath(ref.path, base)).as_posix()


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path leads to something in a folder, links followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links that go in a circle, a NUL in the path
        return False


def _read(index: int, raw: Mapping[str, Any], base: Path | None, trust_paths: bool) -> Record:
    task = _task(raw.get("task"))
    if raw.get("input") in (None, ""):
        raise InstanceError(f"{task.name}: it has no input")
    images = [
        _image(number, image, base, trust_paths) for number, image in enumerate(json_list(raw, "images"), start=1)
    ]
    fields = {"input": raw["input"], "options": raw.get("options"), "instruction": _text(raw, "instruction")}
    instance = task.read(fields, images)
    places = len(task.places(instance))
    if len(images) not in (0, places) and places > 1:
        raise InstanceError(f"{task.name}: {len(images)} images for {places} products; use null for a missing one")
    captions = _captions(raw)
    if captions is not None and len(captions) != len(images):
        raise InstanceError(f"{task.name}: {len(captions)} captions for {len(images)} images")
    kept = _kept(raw)
    if kept is not None and len(kept) != len(images):
        raise InstanceError(f"{task.name}: {len(kept)} votes for {len(images)} images")
    products = [None if product in (None, "") else str(product) for product in json_list(raw, "products")]
    if products and len(products) != len(images):
        raise InstanceError(f"{task.name}: {len(products)} products for {len(images)} images")
    placed = tuple(
        image.model_copy(update={"product": product})
        for image, product in zip(instance.images, products or [None] * len(images), strict=True)
    )
    instance = instance.model_copy(update={"output": _output(raw, task, instance), "images": placed})
    texts = [image_location(image, base) for image in images]
    asked = [instance.task, instance.instruction, instance.input, instance.options, instance.output, texts]
    record = Record(
        index=index,
        key=hashlib.sha256(_canonical(asked)).hexdigest(),
        id=_text(raw, "id"),
        split=_text(raw, "split"),
        instance=instance,
        captions=captions,
        kept=kept,
    )
    _canonical([record.id, record.split, captions, products])
    return record


def _task(name: Any) -> Task:
    try:
        return get_task(name)
    except UnknownTaskError as error:
        raise InstanceError(f"task {_short(name)} is unknown" if name else "it has no task") from error


def _output(raw: Mapping[str, Any], task: Task, instance: Instance) -> str:
    output = raw.get("output")
    if output is None or (output == "" and not task.is_open):
        raise InstanceError(f"{task.name}: it has no output")
    if not isinstance(output, str):
        raise InstanceError(f"{task.name}: output {_short(output)} is not a text")
    if task.is_open:
        return output.strip()
    right = task.parse(output, instance)
    if right is None:
        labels = ", ".join(task.labels(instance))
        raise InstanceError(f"{task.name}: output {_short(output)} is none of {labels}")
    return right


def _image(number: int, image: Any, base: Path | None, trust_paths: bool) -> ImageRef | None:
    if image is None or (isinstance(image, str) and not image.strip()):
        return None
    if not isinstance(image, str):
        raise InstanceError(f"image {number} is neither a URL nor a path")
    try:
        ref = ImageRef.parse(image, base=base)
    except ValueError as error:
        raise InstanceError(f"image {number} is a malformed URL") from error
    if ref.path is not None and not trust_paths and not (base is not None and is_inside(ref.path, base)):
        where = "leads out of the data's folder" if base is not None else "is not a URL"
        raise InstanceError(f"image {number} {where}; read it with --trust-paths if the data is your own")
    return ref


def _captions(raw: Mapping[str, Any]) -> tuple[str | None, ...] | None:
    given = json_list(raw, "caption_info")
    if not given:
        return None
    if any(not isinstance(caption, str | None) for caption in given):
        raise InstanceError("caption_info holds something that is not a text")
    texts = [(caption or "").strip() for caption in given]
    return tuple(None if text.lower() in _NO_CAPTION else text for text in texts)


def _kept(raw: Mapping[str, Any]) -> tuple[bool | None, ...] | None:
    votes = [vote.strip().lower() if isinstance(vote, str) else vote for vote in json_list(raw, "votes")]
    for vote in votes:
        if not isinstance(vote, bool | str | None) or vote not in _VERDICTS:
            raise InstanceError(f"votes holds {_short(vote)}, which is none of true, false, yes, no and null")
    return tuple(_VERDICTS[vote] for vote in votes) or None


def _text(raw: Mapping[str, Any], field: str) -> str:
    value = raw.get(field)
    if value is None:
        return ""
    if isinstance(value, int) and field == "id":
        return str(value)
    if not isinstance(value, str):
        raise InstanceError(f"{field} {_short(value)} is not a text")
    return value


def _canonical(value: Any) -> bytes:
    """One form of equal values; refuses what no JSON file could hold."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InstanceError("it holds half a character (a lone surrogate)") from error
    except ValueError as error:
        raise InstanceError("it holds a number out of range") from error


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "..."
