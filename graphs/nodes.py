"""The graph's nodes: each runs one step of the pipeline, times it and reports it on the stream."""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeAlias, TypeVar

from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.runtime import get_runtime
from langgraph.types import Overwrite, Send, interrupt
from pydantic import ValidationError

from caslie_tools._concurrency import requested_by, run_sync
from caslie_tools.domain import GateDecision, ImageRef
from caslie_tools.exceptions import EndpointError, ImageError, InputError, ModelError, StoreError
from caslie_tools.graphs.context import Context
from caslie_tools.graphs.state import ImageState, State
from caslie_tools.pipeline.captioning import NOTHING_TO_DESCRIBE
from caslie_tools.pipeline.failed_votes import failed_jury_warnings
from caslie_tools.pipeline.pipeline import ImageResult, Pipeline, Request
from caslie_tools.pipeline.response import Timing
from caslie_tools.tasks import get_task

StateT = TypeVar("StateT")
Update: TypeAlias = dict[str, Any]


def as_node(step: Callable[[StateT], Awaitable[Update]]) -> Runnable[StateT, Update]:
    """Wraps an async step as a node that ``invoke`` and ``ainvoke`` both run, timed and announced on the stream."""
    name = getattr(step, "__name__", "step")

    async def run(state: StateT) -> Update:
        started = time.perf_counter()
        with requested_by(_run()):
            update = await step(state)
        item = update.pop("item", "")
        timing = Timing(step=name, item=item, milliseconds=round((time.perf_counter() - started) * 1000, 3))
        get_stream_writer()({"step": name, "item": item, "milliseconds": timing.milliseconds, **_news(update)})
        earlier = update.get("timings")
        update["timings"] = Overwrite([timing]) if isinstance(earlier, Overwrite) else [timing]
        return update

    def run_to_end(state: StateT) -> Update:
        return run_sync(run(state))

    return RunnableLambda(run_to_end, afunc=run, name=name)


def _run() -> Hashable:
    """What tells this run of the graph from others at the same time, as far as it can be told."""
    runtime = get_runtime(Context)
    info = runtime.execution_info
    return (info and (info.thread_id or info.run_id)) or id(runtime.context)


def worth_another_try(error: BaseException) -> bool:
    """Whether a model may answer when it is asked again; an endpoint's client has tried what there was to try."""
    if not isinstance(error, ModelError):
        return False
    return not isinstance(error, EndpointError) and not isinstance(error.__cause__, EndpointError)


def _news(update: Update) -> Update:
    """What a step's event says beside its time: enough for a progress display, no product text."""
    news: Update = {}
    if (caption := update.get("caption")) is not None:
        news["source"] = caption.source
    if (decision := update.get("decision")) is not None:
        news["kept"] = decision.kept
    return news


class Nodes:
    """The nodes of both graphs, over one ``Pipeline``.

    Args:
        pipeline: The steps.
        attempts: How often the graph tries a node that asks a model.
    """

    def __init__(self, pipeline: Pipeline, *, attempts: int) -> None:
        self.pipeline = pipeline
        self.attempts = attempts

    async def validate(self, state: State) -> Update:
        """Checks what is asked; starts afresh where a thread goes on with another question."""
        fields = {name: state[name] for name in Request.model_fields if name in state and state[name] is not None}  # type: ignore[literal-required]
        try:
            if "images" in fields:
                fields["images"] = [ImageRef.parse(ref) if isinstance(ref, str) else ref for ref in fields["images"]]
            request = Request.model_validate(fields)
        except (ValidationError, TypeError) as error:
            raise InputError(f"the request cannot be understood: {_reason(error)}") from error
        afresh: Update = {"image_results": Overwrite([]), "warnings": Overwrite([]), "timings": Overwrite([])}
        return afresh | {"request": request, "instance": self.pipeline.validate(request)}

    async def retrieve(self, state: State) -> Update:
        """Finds the products a question is about, with what the store knows of their images."""
        instance = state.get("instance")
        warnings = []
        if instance is None:
            instance = await self.pipeline.retrieve(state["request"])
            if isinstance(instance.input, dict) and instance.input.get("products") == []:
                warnings.append("no product of the store matches; index a catalogue or widen the filter")
        left_out = len(instance.images) - self.pipeline.settings.max_images
        if left_out > 0:
            warnings.append(f"{left_out} of {len(instance.images)} images were left out (CASLIE_MAX_IMAGES)")
        return {"instance": instance, "warnings": warnings}

    def fan_out(self, state: State) -> list[Send] | str:
        """One look per image, in parallel; straight to the answer where there is nothing to look at."""
        runtime = get_runtime(Context)
        if runtime.context is not None and not runtime.context.use_images:
            return "predict"
        instance = state["instance"]
        places = get_task(instance.task).places(instance)
        image_results = [
            Send("image", ImageState(index=index, image=image, context=places[image.place].context))
            for index, image in enumerate(instance.images[: self.pipeline.settings.max_images])
            if image.ref is not None
        ]
        return image_results or "predict"

    async def caption(self, state: ImageState) -> Update:
        """Chooses a cached caption or makes one."""
        image = state["image"]
        try:
            caption = await self.pipeline.caption(image, state["context"])
        except ImageError as error:
            return {"item": _label(state), "image_results": [_image_result(state, error=str(error))]}
        except ModelError as error:
            attempt = get_runtime(Context).execution_info
            if attempt is not None and attempt.node_attempt < self.attempts and worth_another_try(error):
                raise
            # After the last try this image goes without a caption, and the answer says so.
            return {"item": _label(state), "image_results": [_image_result(state, error=str(error))]}
        if caption is None:
            return {
                "item": _label(state),
                "image_results": [_image_result(state, error=NOTHING_TO_DESCRIBE)],
            }
        return {"item": _label(state), "caption": caption}

    async def gate(self, state: ImageState) -> Update:
        """Lets the jury vote on the caption."""
        caption = state["caption"]
        assert caption is not None  # noqa: S101 (the edge to this node says so; for the type checker)
        run = get_runtime(Context).context
        # A vote that was stopped early does not show whether it was thin.
        whole_jury = run is not None and run.ask_person
        image = state["image"]
        decision = await self.pipeline.gate(caption, state["context"], image=image.ref, whole_jury=whole_jury)
        result = ImageResult(index=state["index"], image=image, caption=caption, decision=decision)
        return {"item": _label(state), "decision": decision, "image_results": [result]}

    async def review(self, state: State) -> Update:
        """Asks a person about the thin votes, all of them at once, where the run wants that."""
        runtime = get_runtime(Context)
        thin = [
            result for result in state["image_results"] if result.caption and result.decision and result.decision.thin
        ]
        if runtime.context is None or not runtime.context.ask_person or not thin:
            return {}
        verdicts = interrupt(
            {
                # The indexes as texts: LangGraph looks for its own ids among a mapping's keys, and numbers break that.
                "question": 'The jury is divided. Do these captions help? Answer by index, as {"0": true, "2": false}.',
                "captions": [
                    {
                        "index": result.index,
                        "product": result.image.product,
                        "text": result.caption.text if result.caption else "",
                        "asked": result.caption.context.text if result.caption else "",
                        "votes": [vote.model_dump(mode="json") for vote in result.decision.votes]
                        if result.decision
                        else [],
                    }
                    for result in thin
                ],
            }
        )
        decided = {result.index: _person_says(verdicts, result) for result in thin}
        return {"image_results": Overwrite([decided.get(result.index, result) for result in state["image_results"]])}

    async def predict(self, state: State) -> Update:
        """Fuses the kept captions and answers; without any caption, from text alone, and says so."""
        image_results = sorted(state.get("image_results", []), key=lambda result: result.index)
        prediction = await self.pipeline.predict(state["instance"], image_results)
        warnings = [f"{result.image.ref}: {result.error}" for result in image_results if result.error]
        if image_results and all(result.error for result in image_results):
            warnings.append("no image could be captioned; this is answered from text only")
        warnings += failed_jury_warnings([result.decision for result in image_results if result.decision])
        return {"prediction": prediction, "image_results": Overwrite(image_results), "warnings": warnings}

    async def save_captions(self, state: State) -> Update:
        """Stores the new captions. An answer is not lost because the store is busy."""
        try:
            await self.pipeline.save_captions(state.get("image_results", []))
        except StoreError as error:
            return {"warnings": [f"the new captions were not remembered: {error}"]}
        return {}


def _reason(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{' > '.join(str(part) for part in first['loc']) or 'an image'}: {first['msg']}"


def _label(state: ImageState) -> str:
    return str(state["image"].ref)


def _image_result(state: ImageState, *, error: str) -> ImageResult:
    return ImageResult(index=state["index"], image=state["image"], error=error)


def _person_says(verdicts: Any, result: ImageResult) -> ImageResult:
    """Applies a person's answer, ``{index: true or false}``; an answer of another form leaves the jury's verdict."""
    answers = verdicts if isinstance(verdicts, dict) else {}
    kept = answers.get(result.index, answers.get(str(result.index)))
    if not isinstance(kept, bool) or result.decision is None:
        return result
    update = {
        "kept": kept,
        "decided_by": "person",
        "reason": f"a person decided; the jury: {result.decision.reason}",
    }
    return result.model_copy(update={"decision": GateDecision.model_validate(result.decision.model_dump() | update)})
