"""The evidence for an answer to an open question: the text of the instance's input, and its kept captions."""

from pydantic import JsonValue

from caslie_tools.domain import Citation
from caslie_tools.tasks.definition import Task
from caslie_tools.tasks.instances import FusedCaption, FusedInstance, Instance
from caslie_tools.tasks.places import field_text
from caslie_tools.tasks.registry import get_task


def evidence(instance: FusedInstance) -> list[Citation]:
    """Returns what an answer can cite, in a fixed order.

    If the input has a list ``products``: the fields of each product, then its kept captions. Otherwise: the fields of
    the input except its ``question``, or its items, then the kept captions.

    Captions are taken from ``instance.captions`` and not from the text. A field that only looks like a caption is
    therefore never cited as a caption.
    """
    task = get_task(instance.task)
    caption_keys = {slot.key for slot in task.image_slots if slot.key}
    if isinstance(instance.input, list):
        items = enumerate(instance.input, start=1)
        texts = [Citation(field=f"item {number}", quote=field_text(item)) for number, item in items]
        return [*texts, *map(_caption, instance.captions)]
    if "products" in instance.input:
        return _of_products(task, instance, instance.input["products"], reserved={"id", *caption_keys})
    fields = [
        Citation(field=name, quote=field_text(value))
        for name, value in instance.input.items()
        if name not in {"question", *caption_keys} and value not in (None, "")
    ]
    return [*fields, *map(_caption, instance.captions)]


def _of_products(task: Task, instance: FusedInstance, products: JsonValue, *, reserved: set[str]) -> list[Citation]:
    places = task.places(Instance(task=task.name, input=instance.input, options=instance.options))
    paths = {place.name: place.target.path for place in places}
    found = []
    for index, product in enumerate(products if isinstance(products, list) else []):
        if not isinstance(product, dict):
            continue
        product_id = str(product["id"])
        found += [
            Citation(product=product_id, field=name, quote=str(value))
            for name, value in product.items()
            if name not in reserved and value not in (None, "")
        ]
        found += [
            _caption(fused).model_copy(update={"product": product_id})
            for fused in instance.captions
            if paths[fused.place][:2] == ("products", index)
        ]
    return found


def _caption(fused: FusedCaption) -> Citation:
    return Citation(product=fused.product, field="caption", image=fused.caption.image, quote=fused.caption.text)
