"""Runs one instance under every treatment: selects the captions, predicts the answer and records the cost."""

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from caslie_tools._concurrency import run_together
from caslie_tools._text import shortened
from caslie_tools.data.records import Record, image_location
from caslie_tools.domain import ImageRef, Prediction
from caslie_tools.evaluation.caption_costs import CaptionCosts
from caslie_tools.evaluation.metrics import is_open_answer_right
from caslie_tools.evaluation.outcomes import (
    CAPTIONER,
    JUDGE,
    TREATMENTS,
    Outcome,
    Treatment,
    TreatmentOutcome,
    sort_treatments,
)
from caslie_tools.evaluation.pixels import PixelAnswers
from caslie_tools.evaluation.predictor_results import PredictorResult, result_of
from caslie_tools.evaluation.products import ImageResolver, product_names
from caslie_tools.evaluation.selected_captions import CaptionSelector, SelectedCaption, add_costs
from caslie_tools.evaluation.timed_models import timed_pipeline
from caslie_tools.exceptions import InputError, UnsupportedModelError
from caslie_tools.images.reading import is_data_url
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.fusion import fuse
from caslie_tools.tasks.places import field_text

_MAX_INPUT_CHARACTERS: Final = 400

PIXELS: Final = "pixels"
"""The treatment that the vision predictor answers."""
EACH_JUDGE: Final = "judges"
"""Stands for one treatment for each judge of the jury."""
EACH_CAPTIONER: Final = "captioners"
"""Stands for one treatment for each captioner."""


def expand_treatments(names: Collection[str], pipeline: Pipeline) -> tuple[Treatment, ...]:
    """Returns the named treatments in the order of reports.

    Args:
        names: Names of treatments, :data:`EACH_JUDGE` or :data:`EACH_CAPTIONER`.
        pipeline: Has the judges and the captioners.

    Raises:
        InputError: If there is no name, a name is unknown, ``text_first`` is named without text-first thresholds, or
            ``pixels`` without a vision predictor.
    """
    groups = {
        EACH_JUDGE: [f"{JUDGE}{judge.get_name()}" for judge in pipeline.cqe.judges],
        EACH_CAPTIONER: [f"{CAPTIONER}{name}" for name in pipeline.ec3.identities],
    }
    known = {*TREATMENTS, *groups[EACH_JUDGE], *groups[EACH_CAPTIONER]}
    if "text_first" in names and pipeline.text_first is None:
        raise InputError("the treatment text_first needs text-first thresholds; set CASLIE_TEXT_FIRST")
    if PIXELS in names and pipeline.vision_predictor is None:
        raise InputError("the treatment pixels needs a vision predictor; give the profile a [vision_predictor]")
    expanded = [each for name in names for each in groups.get(name, [name])]
    if not expanded or not known.issuperset(expanded):
        raise InputError(f"the treatments are {', '.join((*TREATMENTS, *groups))}; choose at least one of them")
    return tuple(sort_treatments(expanded))


class TreatmentRunner:
    """Runs instances under several treatments, with one pipeline.

    The outcome of an instance depends neither on other instances nor on their order: a caption is reused only in the
    exact context it was made for. Treatments share captions, votes and the answers to equal texts. The cost of each
    treatment is reported as if it were the only one.

    Args:
        pipeline: Store, models and limits. Every new caption is stored at once, so that a resumed run does not make it
            again.
        treatments: The treatments to run: see :func:`expand_treatments`.
        resolve: Finds the reference to load for an image. Default: the reference in the data.
        costs: What the captions cost that were made before an interruption. Default: none were made.
        leave_one_out: Whether an instance with several captions is also answered without each of them, if it is run
            under ``every`` and ``gated``. The extra answers do not count as costs.

    Raises:
        InputError: If there is no treatment, a treatment is unknown, or one needs what the pipeline lacks.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        treatments: Iterable[Treatment],
        resolve: ImageResolver | None = None,
        costs: CaptionCosts | None = None,
        *,
        leave_one_out: bool = True,
    ) -> None:
        self.pipeline = timed_pipeline(pipeline)
        self.treatments = expand_treatments(tuple(treatments), pipeline)
        self._resolve = resolve or (lambda ref: ref)
        self._leave_one_out = leave_one_out and {"every", "gated"} <= {*self.treatments}
        needed = ("none", "gated") if "text_first" in self.treatments else ()
        run = sort_treatments({*self.treatments, *needed} - {"text_first", PIXELS})
        self._pixels = None
        if PIXELS in self.treatments and (vision := self.pipeline.vision_predictor) is not None:
            max_images = getattr(pipeline.vision_predictor, "max_images", None)
            self._pixels = PixelAnswers(self.pipeline, vision, self._resolve, max_images=max_images)
        self._captions = CaptionSelector(self.pipeline, run, self._resolve, costs or CaptionCosts())

    async def run(self, record: Record) -> Outcome:
        """Evaluates one instance. Treatments that the record cannot have are left out: see :meth:`lacking`.

        If a model fails, the outcome has the error and counts as wrong.

        Raises:
            EndpointUnavailableError: If a model cannot be reached. There is no outcome then, because the failure is not
                caused by the instance.
            MissingExtraError: If an optional dependency of a captioner or the predictor is not installed.
            ModelError: If a judge lacks an optional dependency, or an ability of its model.
            StoreError: If the store cannot be written.
        """
        selected = await self._captions.select(record)
        task, instance, wire = get_task(record.task), record.instance, self.pipeline.settings.wire_format
        fused = {
            treatment: fuse(task, instance, [each.caption for each in captions], wire=wire)
            for treatment, captions in selected.items()
        }
        without = self._without_each(record, selected.get("every", ()))
        inputs = {_predictor_input(each): each for each in (*fused.values(), *without.values())}
        answers = dict(zip(inputs, await run_together(map(self._predict, inputs.values())), strict=True))
        outcomes = {
            treatment: _outcome(record, selected[treatment], answers[_predictor_input(fused[treatment])])
            for treatment in selected
        }
        if without:
            right = {index: _is_right(record, answers[_predictor_input(each)]) for index, each in without.items()}
            outcomes["every"] = _with_single_effects(outcomes["every"], right)
        if "text_first" in self.treatments:
            text = answers[_predictor_input(fused["none"])].prediction
            outcomes["text_first"] = self._text_first(text, none=outcomes["none"], gated=outcomes["gated"])
        if self._pixels is not None and self._pixels.accepts(record):
            outcomes[PIXELS] = _outcome(record, *await self._pixels.answer(record))
        return Outcome(
            index=record.index,
            key=record.key,
            task=record.task,
            split=record.split,
            gold=record.output,
            input=shortened(field_text(instance.input), _MAX_INPUT_CHARACTERS),
            options=instance.options,
            images=tuple(_location(image.ref and (self._resolve(image.ref) or image.ref)) for image in instance.images),
            products=await asyncio.to_thread(product_names, record, self._resolve),
            users=record.users,
            treatments={name: outcomes[name] for name in self.treatments if name in outcomes},
        )

    def _text_first(
        self, text: Prediction | None, *, none: TreatmentOutcome, gated: TreatmentOutcome
    ) -> TreatmentOutcome:
        """Returns the outcome if pictures are looked at only where the answer from text is not sure enough.

        Args:
            text: The answer from text. ``None`` if the predictor failed.
            none: The outcome of this answer.
            gated: The outcome with the captions that the jury keeps.
        """
        first = self.pipeline.text_first
        if text is None or first is None or text.task not in first.thresholds or not gated.captions:
            return none if text is None else gated
        try:
            if first.judge(text).is_enough:
                return none
        except UnsupportedModelError as error:
            return none.model_copy(update={"error": str(error), "right": False})
        # Without a kept caption, the answer from text is the answer and is not asked for again.
        return gated.model_copy(update={"cost": add_costs((gated.cost, none.cost))}) if gated.fused else gated

    def _without_each(self, record: Record, selected: Sequence[SelectedCaption]) -> dict[int, FusedInstance]:
        """Returns the instance without each of its captions, by the image, if it has several."""
        captions = [each.caption for each in selected]
        made = [index for index, caption in enumerate(captions) if caption is not None]
        if not self._leave_one_out or len(made) < 2:
            return {}
        task, wire = get_task(record.task), self.pipeline.settings.wire_format
        return {
            left_out: fuse(
                task,
                record.instance,
                [None if index == left_out else caption for index, caption in enumerate(captions)],
                wire=wire,
            )
            for left_out in made
        }

    def lacking(self, record: Record) -> list[Treatment]:
        """Returns the treatments that a record cannot have: it has no captions or votes, or too many images."""
        without = {"given", "given_gated", "given_voted"} if record.captions is None else set()
        without |= {"given_voted"} if record.kept is None else set()
        without |= {PIXELS} if self._pixels is not None and not self._pixels.accepts(record) else set()
        return [treatment for treatment in self.treatments if treatment in without]

    async def _predict(self, fused: FusedInstance) -> PredictorResult:
        return await result_of(self.pipeline.unim3.ainvoke(fused))


def _location(ref: ImageRef | None) -> str | None:
    if ref is None or ref.data is not None or (ref.url is not None and is_data_url(ref.url)):
        return None
    return image_location(ref, None)


def _predictor_input(fused: FusedInstance) -> str:
    """Returns everything that may change a predictor's answer: the fused text and the evidence of the captions."""
    captions = [
        (each.place, each.product, each.caption.text, [evidence.model_dump() for evidence in each.caption.evidence])
        for each in fused.captions
    ]
    return json.dumps([fused.input, fused.options, captions])


def _outcome(record: Record, selected: Sequence[SelectedCaption], predicted: PredictorResult) -> TreatmentOutcome:
    common = {
        "fused": sum(each.caption is not None for each in selected),
        "captions": tuple(each.outcome for each in selected),
        "cost": add_costs((*(each.cost for each in selected), predicted.cost)),
    }
    prediction = predicted.prediction
    if prediction is None:
        return TreatmentOutcome(error=predicted.error, **common)
    if get_task(record.task).is_open:
        answer: str | None = "" if prediction.answerable is False else prediction.text
    else:
        answer = prediction.label
    return TreatmentOutcome(
        answer=answer,
        text=prediction.text,
        right=bool(_is_right(record, predicted)),
        probabilities=prediction.probabilities,
        **common,
    )


def _is_right(record: Record, predicted: PredictorResult) -> bool | None:
    """Returns whether an answer is right. ``None`` if the predictor failed."""
    prediction = predicted.prediction
    if prediction is None:
        return None
    if get_task(record.task).is_open:
        return is_open_answer_right(prediction.text, record.output, answerable=prediction.answerable)
    return prediction.label == record.output


def _with_single_effects(every: TreatmentOutcome, right: Mapping[int, bool | None]) -> TreatmentOutcome:
    """Returns the outcome with all captions, where each says whether the answer is right without it."""
    captions = tuple(
        caption.model_copy(update={"right_without": right.get(index)}) for index, caption in enumerate(every.captions)
    )
    return every.model_copy(update={"captions": captions})
