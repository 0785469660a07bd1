"""The nodes of the graphs. Each node runs one step of the pipeline, measures its time and reports it on the stream."""

import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, TypeAlias, TypeVar

from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.runtime import get_runtime
from langgraph.types import Overwrite, Send, interrupt
from pydantic import ValidationError

from caslie_tools._concurrency import requested_by, run_sync
from caslie_tools.domain import ImageRef
from caslie_tools.exceptions import EndpointError, ImageError, InputError, ModelError, StoreError
from caslie_tools.graphs.context import Context
from caslie_tools.graphs.review import is_reviewed, parse_answer, review_request, with_decision
from caslie_tools.graphs.state import ImageState, State
from caslie_tools.pipeline.captioning import NOTHING_TO_DESCRIBE
from caslie_tools.pipeline.failed_votes import failed_jury_warnings
from caslie_tools.pipeline.pipeline import ImageResult, Pipeline, Request
from caslie_tools.pipeline.response import Timing
from caslie_tools.pipeline.stored_images import store_uploads
from caslie_tools.tasks import Instance

StateT = TypeVar("StateT")
Update: TypeAlias = dict[str, Any]


def as_node(step: Callable[[StateT], Awaitable[Update]]) -> Runnable[StateT, Update]:
    """Wraps an async step as a node for ``invoke`` and ``ainvoke``.

    The node measures the time of the step, adds it to the state and emits it as an event on the stream.
    """
    name = getattr(step, "__name__", "step")

    async def run(state: StateT) -> Update:
        started = time.perf_counter()
        with requested_by(_requester()):
            update = await step(state)
        item = update.pop("item", "")
        timing = Timing(step=name, item=item, milliseconds=round((time.perf_counter() - started) * 1000, 3))
        event = {"step": name, "item": item, "milliseconds": timing.milliseconds}
        get_stream_writer()(event | _event_details(update))
        restarts = isinstance(update.get("timings"), Overwrite)
        update["timings"] = Overwrite([timing]) if restarts else [timing]
        return update

    def run_blocking(state: StateT) -> Update:
        return run_sync(run(state))

    return RunnableLambda(run_blocking, afunc=run, name=name)


def _requester() -> Hashable:
    """Returns a value that differs between runs of the graph, so that simultaneous runs share the limits fairly."""
    runtime = get_runtime(Context)
    info = runtime.execution_info
    return (info and (info.thread_id or info.run_id)) or id(runtime.context)


def is_retryable(error: BaseException) -> bool:
    """Returns whether a model may succeed on another attempt. The client of an endpoint has its own retries."""
    if not isinstance(error, ModelError):
        return False
    return not isinstance(error, EndpointError) and not isinstance(error.__cause__, EndpointError)


def _event_details(update: Update) -> Update:
    """Returns the details of a step's event that a progress display needs. They contain no text of a product."""
    details: Update = {}
    if (caption := update.get("caption")) is not None:
        details["source"] = caption.source
    if (decision := update.get("decision")) is not None:
        details["kept"] = decision.kept
    if (text_answer := update.get("text_answer")) is not None:
        details["enough"] = text_answer.is_enough
    return details


class Nodes:
    """The nodes of both graphs, over one pipeline.

    Args:
        pipeline: The steps.
        attempts: Number of attempts at a node that asks a model.
    """

    def __init__(self, pipeline: Pipeline, *, attempts: int) -> None:
        self.pipeline = pipeline
        self.attempts = attempts

    async def validate(self, state: State) -> Update:
        """Validates the request, and clears the results of the thread's previous request."""
        fields = {name: state[name] for name in Request.model_fields if name in state and state[name] is not None}  # type: ignore[literal-required]
        try:
            if "images" in fields:
                fields["images"] = [ImageRef.parse(ref) if isinstance(ref, str) else ref for ref in fields["images"]]
            request = Request.model_validate(fields)
        except (ValidationError, TypeError) as error:
            raise InputError(f"the request is invalid: {_reason(error)}") from error
        cleared: Update = {name: Overwrite([]) for name in ("image_results", "warnings", "timings")}
        cleared["text_answer"] = None
        options = get_runtime(Context).context or Context()
        return cleared | {"request": request, "options": options, "instance": self.pipeline.validate(request)}

    async def retrieve(self, state: State) -> Update:
        """Retrieves the products that a question is about, with the stored hashes of their images."""
        instance = state.get("instance")
        warnings = []
        if instance is None:
            instance = await self.pipeline.retrieve(state["request"])
            if isinstance(instance.input, dict) and instance.input.get("products") == []:
                warnings.append("no product in the store matches; index a catalogue or widen the filter")
        request = state["request"]
        if self.pipeline.settings.store_uploads:
            instance = await store_uploads(instance, self.pipeline.store, self.pipeline.loader)
            request = request.model_copy(update={"images": ()})
        if len(self.pipeline.labels(instance)) == 1:
            warnings.append("there is only one option, so the answer says nothing about the product")
        existing = sum(image.ref is not None for image in instance.images)
        used = len(self.pipeline.used_images(instance))
        if used < existing:
            warnings.append(
                f"{existing - used} of {existing} images were left out: the wire format 'paper' uses only the first "
                "image of a text"
            )
        left_out = used - self.pipeline.settings.max_images
        if left_out > 0:
            warnings.append(f"{left_out} of {used} images were left out (CASLIE_MAX_IMAGES)")
        return {"instance": instance, "request": request, "warnings": warnings}

    async def answer_from_text(self, state: State) -> Update:
        """Answers from text alone, for a task where that may be enough."""
        if not state["options"].use_images:
            return {}
        return {"text_answer": await self.pipeline.answer_from_text(state["instance"])}

    def fan_out(self, state: State) -> list[Send] | str:
        """Starts one run of the image graph per image, in parallel.

        Continues with the prediction if there are no images, or if the answer from text alone is enough.
        """
        text_answer = state.get("text_answer")
        if not state["options"].use_images or (text_answer is not None and text_answer.is_enough):
            return "predict"
        instance = state["instance"]
        contexts = self.pipeline.contexts(instance)
        sends = [
            Send(
                "image",
                ImageState(
                    index=index,
                    image=instance.images[index],
                    context=contexts[instance.images[index].place].context,
                    ask_person=state["options"].ask_person,
                    instance=instance.with_image(index),
                    text_answer=text_answer,
                ),
            )
            for index in self.pipeline.used_images(instance)[: self.pipeline.settings.max_images]
        ]
        return sends or "predict"

    async def caption(self, state: ImageState) -> Update:
        """Finds a stored caption or makes a new one. An image that cannot be captioned does not fail the run."""
        try:
            caption = await self.pipeline.caption(state["image"], state["context"])
        except ImageError as error:
            return _without_caption(state, str(error))
        except ModelError as error:
            info = get_runtime(Context).execution_info
            if info is not None and info.node_attempt < self.attempts and is_retryable(error):
                raise
            return _without_caption(state, str(error))
        if caption is None:
            return _without_caption(state, NOTHING_TO_DESCRIBE)
        return {"item": str(state["image"].ref), "caption": caption}

    async def gate(self, state: ImageState) -> Update:
        """Lets the jury vote on the caption."""
        image, caption = state["image"], state["caption"]
        assert caption is not None  # noqa: S101 (guaranteed by the edge to this node; for the type checker)
        decision = await self.pipeline.gate(
            caption,
            state["context"],
            image=image.ref,
            instance=state["instance"],
            text_answer=state.get("text_answer"),
            ask_all=state["ask_person"],  # only all votes show whether the decision is close
        )
        result = ImageResult(index=state["index"], image=image, caption=caption, decision=decision)
        return {"item": str(image.ref), "decision": decision, "image_results": [result]}

    async def review(self, state: State) -> Update:
        """Interrupts the run once to ask a person about all close decisions, if the run asks for that."""
        reviewed = [result for result in state["image_results"] if is_reviewed(result)]
        if not state["options"].ask_person or not reviewed:
            return {}
        decisions = _ask_person(reviewed)
        return {
            "image_results": Overwrite(
                [
                    with_decision(result, decisions[result.index]) if result.index in decisions else result
                    for result in state["image_results"]
                ]
            )
        }

    async def predict(self, state: State) -> Update:
        """Fuses the kept captions and predicts the answer. Without captions, it predicts from text and warns."""
        image_results = sorted(state.get("image_results", []), key=lambda result: result.index)
        prediction = await self.pipeline.predict(state["instance"], image_results, text_answer=state.get("text_answer"))
        warnings = self._notes(state["instance"], image_results)
        warnings += [f"{result.image.ref}: {result.error}" for result in image_results if result.error]
        if image_results and all(result.error for result in image_results):
            warnings.append("no image could be captioned; the answer is based on text only")
        warnings += failed_jury_warnings([result.decision for result in image_results if result.decision])
        return {"prediction": prediction, "image_results": Overwrite(image_results), "warnings": warnings}

    def _notes(self, instance: Instance, image_results: Sequence[ImageResult]) -> list[str]:
        """Returns what was cut from the contexts of the images."""
        contexts = self.pipeline.contexts(instance)
        notes = dict.fromkeys(contexts[result.image.place].note for result in image_results)
        return [note for note in notes if note]

    async def save_captions(self, state: State) -> Update:
        """Stores the new captions. If that fails, the answer is still returned, with a warning."""
        try:
            await self.pipeline.save_captions(state.get("image_results", []))
        except (StoreError, ModelError) as error:  # a caption is stored with vectors, which a model computes
            return {"warnings": [f"the new captions were not stored: {error}"]}
        return {}


def _ask_person(reviewed: Sequence[ImageResult]) -> dict[int, bool]:
    """Interrupts the run until the person's answer is understood. Returns the decisions by index."""
    problem = ""
    while True:
        answer = interrupt(review_request(reviewed, problem))
        try:
            return parse_answer(answer, [result.index for result in reviewed])
        except InputError as error:
            problem = str(error)


def _without_caption(state: ImageState, error: str) -> Update:
    result = ImageResult(index=state["index"], image=state["image"], error=error)
    return {"item": str(state["image"].ref), "image_results": [result]}


def _reason(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    fields = [str(part) for part in first["loc"] if "[" not in str(part)]  # pydantic adds the names of types
    return f"{' > '.join(fields) or 'an image'}: {first['msg']}"
