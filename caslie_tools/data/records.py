"""Reads and validates one record of instruction data in MMECInstruct's form (paper, section on the dataset).

The fields of a record are strings:

- ``instruction``, ``output``, ``task`` and ``split``;
- ``input`` and ``options``: JSON text;
- ``images``: JSON list of URLs, or of paths relative to the file;
- ``caption_info``: JSON list of captions, in the order of the images.

A JSON value is accepted in place of JSON text. Four optional fields are not part of MMECInstruct:

- ``products``: JSON list of the ids of the catalogue products, in the order of the images. In a record without images,
  in the order of the text;
- ``votes``: JSON list of the jury's verdicts on the captions (true or false, or "yes" or "no"; null without a verdict);
- ``users``: JSON list of names of the users whose log rows the record is built from;
- ``time``: the time from which on the right answer is known (ISO 8601).

Other fields are ignored.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from caslie_tools.domain import FrozenModel, ImageRef
from caslie_tools.exceptions import InstanceError, UnknownTaskError
from caslie_tools.tasks import Instance, Task, get_task

_NO_CAPTION = frozenset({"", "na", "n/a", "none", "null"})
"""Texts that the published data and the reference code write for a missing caption."""
_VERDICTS = {True: True, False: False, "yes": True, "no": False, None: None}
_MAX_QUOTED_CHARACTERS = 60


class Record(FrozenModel):
    """A record that is valid for its task."""

    index: int
    """Position in the source, from 0."""
    key: str
    """SHA-256 (hex) of the question and the right answer. Two records with the same key are duplicates."""
    id: str = ""
    """The record's id. Empty if it has none."""
    split: str
    instance: Instance
    """The instance, with its images. ``output`` is the right answer: a label, or a text for an open question."""
    captions: tuple[str | None, ...] | None = None
    """One caption per image, word for word. A missing caption is ``None``. ``None`` if the record has no captions at
    all."""
    kept: tuple[bool | None, ...] | None = None
    """Whether the jury keeps each caption (field ``votes``). A missing verdict is ``None``. ``None`` if the record has
    no verdicts at all."""
    products: tuple[str | None, ...] = ()
    """Ids of the catalogue products, in the order of the images or, without images, of the text. Empty if the record
    does not say."""
    users: tuple[str, ...] = ()
    """Names of the users whose log rows the record is built from. Empty if the record does not say."""
    time: datetime | None = None
    """The time from which on the right answer is known. ``None`` if the record does not say."""

    @property
    def task(self) -> str:
        """The task's name."""
        return self.instance.task

    @property
    def output(self) -> str:
        """The right answer."""
        assert self.instance.output is not None  # noqa: S101 (a record without an output is refused)
        return self.instance.output


class BadRecord(FrozenModel):
    """A record that cannot be used, and the reason."""

    index: int
    """Position in the source, from 0."""
    reason: str


def read_record(index: int, raw: Any, *, base: Path | None = None, trust_paths: bool = False) -> Record:
    """Reads one record.

    Args:
        index: Position in the source, from 0.
        raw: The record as parsed JSON.
        base: Folder that image paths are relative to and must not lead out of. Without it, images must be URLs.
        trust_paths: Whether image paths may lead out of the folder. Use it only for your own data: a downloaded record
            could name any picture on this machine.

    Raises:
        InstanceError: If the record is not valid for its task. The message does not contain the index.
    """
    if not isinstance(raw, Mapping):
        raise InstanceError("the record is not a JSON object")
    try:
        return _read(index, raw, base, trust_paths)
    except RecursionError as error:
        raise InstanceError("the record is nested too deeply") from error


def json_list(raw: Mapping[str, Any], field: str) -> list[Any]:
    """Returns a field that is a list or the JSON text of a list. Returns an empty list if the field is missing.

    Raises:
        InstanceError: If the field is neither.
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
    """Returns an image's URL or path, as a record writes it.

    Args:
        ref: The image.
        base: Folder that the path is to be relative to. Without it, the path is returned as it is.
    """
    if ref is None or ref.path is None:
        return ref.url if ref is not None else None
    if base is None or ref.path.is_relative_to(base):  # `..` in the path is not resolved: a link may come before it
        return (ref.path if base is None else ref.path.relative_to(base)).as_posix()
    return Path(os.path.relpath(ref.path, base)).as_posix()


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path leads into a folder, after resolving symbolic links."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a cycle of links, or a NUL character in the path
        return False


def _read(index: int, raw: Mapping[str, Any], base: Path | None, trust_paths: bool) -> Record:
    task = _task(raw.get("task"))
    if raw.get("input") in (None, ""):
        raise InstanceError(f"{task.name}: the record has no input")
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
    products = _products(raw, task, instance)
    shown = products if images and products else (None,) * len(images)
    placed = tuple(
        image.model_copy(update={"product": product}) for image, product in zip(instance.images, shown, strict=True)
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
        products=products,
        users=_users(raw),
        time=_time(raw),
    )
    _canonical([record.id, record.split, captions, products, record.users])
    return record


def _task(name: Any) -> Task:
    try:
        return get_task(name)
    except UnknownTaskError as error:
        raise InstanceError(f"the task {_quoted(name)} is unknown" if name else "the record has no task") from error


def _output(raw: Mapping[str, Any], task: Task, instance: Instance) -> str:
    output = raw.get("output")
    if output is None or (output == "" and not task.is_open):
        raise InstanceError(f"{task.name}: the record has no output")
    if not isinstance(output, str):
        raise InstanceError(f"{task.name}: output {_quoted(output)} is not a string")
    if task.is_open:
        return output.strip()
    right = task.parse(output, instance)
    if right is None:
        labels = ", ".join(task.labels(instance))
        raise InstanceError(f"{task.name}: output {_quoted(output)} is not one of {labels}")
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
        problem = "leads out of the folder of the data" if base is not None else "is not a URL"
        raise InstanceError(f"image {number} {problem}; use --trust-paths if the data is your own")
    return ref


def _products(raw: Mapping[str, Any], task: Task, instance: Instance) -> tuple[str | None, ...]:
    products = [None if product in (None, "") else str(product) for product in json_list(raw, "products")]
    images, places = len(instance.images), len(task.places(instance))
    if products and images and len(products) != images:
        raise InstanceError(f"{task.name}: {len(products)} products for {images} images")
    if products and not images and places > 1 and len(products) != places:
        raise InstanceError(f"{task.name}: {len(products)} products for {places} places in the text")
    return tuple(products) if any(products) else ()


def _users(raw: Mapping[str, Any]) -> tuple[str, ...]:
    users = json_list(raw, "users")
    if any(not isinstance(user, str) for user in users):
        raise InstanceError("users has an element that is not a string")
    return tuple(users)


def _time(raw: Mapping[str, Any]) -> datetime | None:
    text = _text(raw, "time")
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise InstanceError(f"time {_quoted(text)} is not an ISO 8601 time") from error
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def _captions(raw: Mapping[str, Any]) -> tuple[str | None, ...] | None:
    given = json_list(raw, "caption_info")
    if not given:
        return None
    if any(not isinstance(caption, str | None) for caption in given):
        raise InstanceError("caption_info has an element that is not a string")
    texts = [caption or "" for caption in given]
    return tuple(None if text.strip().lower() in _NO_CAPTION else text for text in texts)


def _kept(raw: Mapping[str, Any]) -> tuple[bool | None, ...] | None:
    votes = [vote.strip().lower() if isinstance(vote, str) else vote for vote in json_list(raw, "votes")]
    for vote in votes:
        if not isinstance(vote, bool | str | None) or vote not in _VERDICTS:
            raise InstanceError(f"votes has the element {_quoted(vote)}, which is not true, false, yes, no or null")
    return tuple(_VERDICTS[vote] for vote in votes) or None


def _text(raw: Mapping[str, Any], field: str) -> str:
    value = raw.get(field)
    if value is None:
        return ""
    if isinstance(value, int) and field == "id":
        return str(value)
    if not isinstance(value, str):
        raise InstanceError(f"{field} {_quoted(value)} is not a string")
    return value


def _canonical(value: Any) -> bytes:
    """Returns the same bytes for equal values. Refuses values that cannot be written as JSON."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InstanceError("a text has half a character (a lone surrogate)") from error
    except ValueError as error:
        raise InstanceError("the record has a number that is out of range") from error


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_QUOTED_CHARACTERS else text[:_MAX_QUOTED_CHARACTERS] + "..."
