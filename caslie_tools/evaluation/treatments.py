"""Runs one instance under every treatment: selects the captions, predicts the answer and records the cost."""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.utils import Input, Output

from caslie_tools._concurrency import AsyncRunnable, run_together
from caslie_tools.catalogue.indexing import general_context_for
from caslie_tools.data.records import Record
from caslie_tools.domain import Caption, FrozenModel, Prediction, QueryContext
from caslie_tools.evaluation.metrics import is_open_answer_right
from caslie_tools.evaluation.outcomes import CaptionOutcome, Cost, Outcome, Treatment, TreatmentOutcome
from caslie_tools.evaluation.products import ImageResolver, product_names
from caslie_tools.exceptions import ImageError, InputError, ModelError
from caslie_tools.pipeline.captioning import NOTHING_TO_DESCRIBE
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.availability import raise_if_judge_unavailable, raise_if_unavailable
from caslie_tools.roles.interfaces import Models
from caslie_tools.roles.usage import Usage, record_seconds, track_usage
from caslie_tools.tasks import FusedInstance, PlacedImage, get_task
from caslie_tools.tasks.fusion import fuse, used_images


class _ImageResult(FrozenModel):
    """The result of one image under one treatment."""

    outcome: CaptionOutcome
    caption: Caption | None = None
    """The caption to fuse. ``None`` if no caption is fused."""
    cost: Cost = Cost()


class _PredictorResult(FrozenModel):
    prediction: Prediction | None = None
    cost: Cost = Cost()
    error: str = ""


class TreatmentRunner:
    """Runs instances under several treatments, with one pipeline.

    The outcome of an instance depends neither on other instances nor on their order: a caption is reused only in the
    exact context it was made for. Treatments share EC3's captions and the answers to equal texts. The cost of each
    treatment is reported as if it were the only one.

    Args:
        pipeline: Store, models and limits. Every new caption is stored at once, so that a resumed run does not make it
            again.
        treatments: The treatments to run.
        resolve: Finds the reference to load for an image. Default: the reference in the data.
    """

    def __init__(
        self, pipeline: Pipeline, treatments: Iterable[Treatment], resolve: ImageResolver | None = None
    ) -> None:
        self.pipeline = _timed_pipeline(pipeline)
        self.treatments = tuple(dict.fromkeys(treatments))
        self._resolve = resolve or (lambda ref: ref)

    async def run(self, record: Record) -> Outcome:
        """Evaluates one instance. The treatment ``given`` is left out for a record without captions.

        If a model fails, the outcome has the error and counts as wrong.

        Raises:
            EndpointUnavailableError: If a model cannot be reached. There is no outcome then, because the failure is not
                caused by the instance.
            MissingExtraError: If an optional dependency of a captioner or the predictor is not installed.
            ModelError: If an optional dependency of a judge is not installed.
            StoreError: If the store cannot be written.
        """
        image_results = await self._image_results(record)
        task, instance = get_task(record.task), record.instance
        fused = {
            treatment: fuse(
                task, instance, [result.caption for result in results], wire=self.pipeline.settings.wire_format
            )
            for treatment, results in image_results.items()
        }
        inputs = {_predictor_input(each): each for each in fused.values()}
        answers = dict(zip(inputs, await run_together(map(self._predict, inputs.values())), strict=True))
        outcomes = {
            treatment: _outcome(record, image_results[treatment], answers[_predictor_input(fused[treatment])])
            for treatment in image_results
        }
        return Outcome(
            index=record.index,
            key=record.key,
            task=record.task,
            split=record.split,
            gold=record.output,
            products=await asyncio.to_thread(product_names, record, self._resolve),
            users=record.users,
            treatments=outcomes,
        )

    async def _image_results(self, record: Record) -> dict[Treatment, list[_ImageResult]]:
        """Returns, for each treatment, one result per image of the instance."""
        wanted = {*self.treatments}
        contexts = [place.context for place in get_task(record.task).places(record.instance)]
        free = [general_context_for(context.known) for context in contexts]
        empty = [_ImageResult(outcome=CaptionOutcome(image=index)) for index in range(len(record.instance.images))]
        conditioned, plain = await run_together(
            [
                self._caption_all(record, contexts if wanted & {"every", "gated"} else None),
                self._caption_all(record, free if "plain" in wanted else None),
            ]
        )
        found: dict[Treatment, list[_ImageResult]] = {"none": empty, "every": conditioned, "plain": plain}
        if "gated" in wanted:
            placed = zip(conditioned, record.instance.images, strict=True)
            found["gated"] = await run_together(self._gate(result, image, contexts) for result, image in placed)
        if record.captions is not None:
            used = self._used_images(record)
            found["given"] = [
                _given(index, text, contexts[image.place]) if index in used else _unused(index)
                for index, (text, image) in enumerate(zip(record.captions, record.instance.images, strict=True))
            ]
        return {treatment: found[treatment] for treatment in self.treatments if treatment in found}

    async def _caption_all(self, record: Record, contexts: Sequence[QueryContext] | None) -> list[_ImageResult]:
        if contexts is None:
            return []
        used = self._used_images(record)
        return await run_together(
            self._caption(index, image, contexts[image.place] if index in used else None)
            for index, image in enumerate(record.instance.images)
        )

    def _used_images(self, record: Record) -> set[int]:
        return set(used_images(get_task(record.task), record.instance, self.pipeline.settings.wire_format))

    async def _caption(self, index: int, image: PlacedImage, context: QueryContext | None) -> _ImageResult:
        def without(reason: str, **calls: int) -> _ImageResult:
            return _ImageResult(outcome=CaptionOutcome(image=index, error=reason), cost=Cost(**calls))

        if context is None:
            return _unused(index)
        try:
            result = await self.pipeline.captions.get(self._resolved(image), context, save=True)
        except ImageError as error:
            return without(str(error))
        except ModelError as error:
            raise_if_unavailable(error)
            return without(str(error), captioner_calls=1)
        caption = result.caption
        if caption is not None and caption.source == "cache":
            cost = Cost(cached_captions=1)
        else:
            cost = _cost(result.usage, captioner_calls=1)
        if caption is None:
            return _ImageResult(outcome=CaptionOutcome(image=index, error=NOTHING_TO_DESCRIBE), cost=cost)
        return _ImageResult(outcome=CaptionOutcome(image=index, text=caption.text), caption=caption, cost=cost)

    def _resolved(self, image: PlacedImage) -> PlacedImage:
        ref = image.ref and self._resolve(image.ref)
        if ref is None:
            raise ImageError("there is no image")
        return image.model_copy(update={"ref": ref})

    async def _gate(self, result: _ImageResult, image: PlacedImage, contexts: Sequence[QueryContext]) -> _ImageResult:
        if result.caption is None:
            return result
        caption, context, ref = result.caption, contexts[image.place], self._resolved(image).ref
        with track_usage() as usage:
            decision = await self.pipeline.gate(caption, context, image=ref)
        # The votes of the remaining judges are needed only for calibration, so they do not count as a cost.
        cost = _sum((result.cost, _cost(usage, judge_calls=len(decision.votes))))
        decision = await self.pipeline.gate(caption, context, image=ref, ask_all=True, previous_votes=decision.votes)
        raise_if_judge_unavailable(decision.votes)
        outcome = result.outcome.model_copy(update={"kept": decision.kept, "votes": decision.votes})
        return _ImageResult(outcome=outcome, caption=caption if decision.kept else None, cost=cost)

    async def _predict(self, fused: FusedInstance) -> _PredictorResult:
        with track_usage() as usage:
            try:
                prediction = await self.pipeline.unim3.ainvoke(fused)
            except (ModelError, InputError) as error:
                raise_if_unavailable(error)
                return _PredictorResult(error=str(error), cost=_cost(usage, predictor_calls=1))
        return _PredictorResult(prediction=prediction, cost=_cost(usage, predictor_calls=1))


class _Timed(AsyncRunnable[Input, Output]):
    """Records the duration of a model's calls. The time spent waiting for a free slot is not included."""

    def __init__(self, model: Runnable[Input, Output]) -> None:
        self.model = model
        self.name = model.get_name()

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Calls the model and records the duration of the call."""
        started = time.perf_counter()
        try:
            return await self.model.ainvoke(input, config, **kwargs)
        finally:
            record_seconds(time.perf_counter() - started)


def _timed_pipeline(pipeline: Pipeline) -> Pipeline:
    """Returns an equal pipeline whose models are timed and whose juries stop early."""
    models = Models(
        captioners=[_Timed(captioner) for captioner in pipeline.ec3.captioners],
        judges=[_Timed(judge) for judge in pipeline.cqe.judges],
        predictor=_Timed(pipeline.unim3.predictor),
    )
    settings = pipeline.settings.model_copy(update={"early_stop": True})
    return Pipeline(pipeline.store, models, settings)


def _unused(index: int) -> _ImageResult:
    reason = "the wire format 'paper' uses only the first image of a text"
    return _ImageResult(outcome=CaptionOutcome(image=index, error=reason))


def _given(index: int, text: str | None, context: QueryContext) -> _ImageResult:
    if text is None:
        return _ImageResult(outcome=CaptionOutcome(image=index, error="the data has no caption for this image"))
    caption = Caption.given(text, context)
    return _ImageResult(outcome=CaptionOutcome(image=index, text=text), caption=caption)


def _predictor_input(fused: FusedInstance) -> str:
    """Returns everything that may change a predictor's answer: the fused text and the evidence of the captions."""
    captions = [
        (each.place, each.product, each.caption.text, [evidence.model_dump() for evidence in each.caption.evidence])
        for each in fused.captions
    ]
    return json.dumps([fused.input, fused.options, captions])


def _outcome(record: Record, image_results: Sequence[_ImageResult], predicted: _PredictorResult) -> TreatmentOutcome:
    common = {
        "fused": sum(result.caption is not None for result in image_results),
        "captions": tuple(result.outcome for result in image_results),
        "cost": _sum((*(result.cost for result in image_results), predicted.cost)),
    }
    prediction = predicted.prediction
    if prediction is None:
        return TreatmentOutcome(error=predicted.error, **common)
    if get_task(record.task).is_open:
        answer: str | None = "" if prediction.answerable is False else prediction.text
        right = is_open_answer_right(prediction.text, record.output, answerable=prediction.answerable)
    else:
        answer = prediction.label
        right = answer == record.output
    return TreatmentOutcome(
        answer=answer, text=prediction.text, right=right, probabilities=prediction.probabilities, **common
    )


def _cost(usage: Usage, **calls: int) -> Cost:
    return Cost(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        seconds=usage.seconds,
        **calls,
    )


def _sum(costs: Iterable[Cost]) -> Cost:
    each = [cost.model_dump() for cost in costs]
    return Cost(**{name: sum(cost[name] for cost in each) for name in Cost.model_fields})
