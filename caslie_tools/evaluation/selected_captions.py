"""Selects the captions of one instance for each treatment: makes them, or takes those in the data, and judges them."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from caslie_tools._concurrency import run_together
from caslie_tools.catalogue.general_captions import general_context_for
from caslie_tools.data.records import Record
from caslie_tools.domain import Caption, FrozenModel, QueryContext
from caslie_tools.evaluation.caption_costs import CaptionCosts
from caslie_tools.evaluation.outcomes import CAPTIONER, JUDGE, CaptionOutcome, Cost, Treatment
from caslie_tools.evaluation.products import ImageResolver
from caslie_tools.evaluation.timed_models import track_usage_by_name
from caslie_tools.exceptions import ImageError, ModelError
from caslie_tools.pipeline.captioning import NOTHING_TO_DESCRIBE, CaptionProvider
from caslie_tools.pipeline.claims import without_false_claims
from caslie_tools.pipeline.ec3 import EC3
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.availability import raise_if_judge_unavailable, raise_if_unavailable
from caslie_tools.roles.usage import Usage, track_usage
from caslie_tools.tasks import Instance, PlacedImage, get_task
from caslie_tools.tasks.fusion import used_images


class SelectedCaption(FrozenModel):
    """The caption of one image under one treatment."""

    outcome: CaptionOutcome
    caption: Caption | None = None
    """The caption to fuse. ``None`` if no caption is fused."""
    cost: Cost = Cost()
    judge_costs: Mapping[str, Cost] = Field(default_factory=dict)
    """The cost of each judge's vote, by the judge's name."""


class CaptionSelector:
    """Selects the captions of instances for several treatments, which share their captions and votes.

    Args:
        pipeline: Store, models and limits. Every new caption is stored at once.
        treatments: The treatments.
        resolve: Finds the reference to load for an image.
        costs: What the captions cost that were made before an interruption.
    """

    def __init__(
        self, pipeline: Pipeline, treatments: Iterable[Treatment], resolve: ImageResolver, costs: CaptionCosts
    ) -> None:
        self.pipeline = pipeline
        self._costs = costs
        self.treatments = tuple(treatments)
        self._resolve = resolve
        alone = {f"{CAPTIONER}{captioner.get_name()}": captioner for captioner in pipeline.ec3.captioners}
        settings = pipeline.settings
        self._providers = {
            treatment: CaptionProvider(
                pipeline.store,
                EC3([captioner], timeout_seconds=settings.captioner_timeout_seconds),
                pipeline.loader,
                max_parallel_images=settings.max_parallel_images,
            )
            for treatment, captioner in alone.items()
            if treatment in self.treatments
        }

    async def select(self, record: Record) -> dict[Treatment, list[SelectedCaption]]:
        """Returns one entry per image for each treatment that the record can have.

        Raises:
            EndpointUnavailableError: If a model cannot be reached.
            MissingExtraError: If an optional dependency of a captioner is not installed.
            ModelError: If an optional dependency of a judge is not installed.
            StoreError: If the store cannot be written.
        """
        images = record.instance.images
        bounded = self.pipeline.contexts(record.instance)
        contexts = [bounded[image.place].context for image in images]
        found: dict[Treatment, list[SelectedCaption]] = {
            "none": [SelectedCaption(outcome=CaptionOutcome(image=index)) for index in range(len(images))]
        }
        if record.captions is not None:
            found["given"] = self._given(record, contexts)
            if record.kept is not None:
                found["given_voted"] = [
                    _by_verdict(given, kept) for given, kept in zip(found["given"], record.kept, strict=True)
                ]
        by_judge = [name for name in self.treatments if name.startswith(JUDGE)]
        made: dict[Treatment, Coroutine[Any, Any, list[SelectedCaption]]] = {}
        if {"every", "gated", *by_judge} & {*self.treatments}:
            made["every"] = self._make(record, contexts)
        if "plain" in self.treatments:
            made["plain"] = self._make(record, [general_context_for("") for _ in images])
        if "general" in self.treatments:
            made["general"] = self._make(record, [general_context_for(context.known) for context in contexts])
        for treatment, provider in self._providers.items():
            made[treatment] = self._make(record, contexts, provider)
        if "every" in made and self._providers:
            # EC3 takes a stored caption of any of its captioners. Those of a captioner alone must not be there yet.
            found["every"] = await made.pop("every")
        found |= dict(zip(made, await run_together(made.values()), strict=True))
        if {"gated", *by_judge} & {*self.treatments}:
            found["gated"] = await self._judge(found["every"], record.instance, contexts)
            for name in by_judge:
                pairs = zip(found["every"], found["gated"], strict=True)
                found[name] = [_by_judge(each, judged, name.removeprefix(JUDGE)) for each, judged in pairs]
        if "given" in found and "given_gated" in self.treatments:
            found["given_gated"] = await self._judge(found["given"], record.instance, contexts)
        return {treatment: found[treatment] for treatment in self.treatments if treatment in found}

    def _given(self, record: Record, contexts: Sequence[QueryContext]) -> list[SelectedCaption]:
        used = self._used(record)
        return [
            _given(index, text, context) if index in used else _unused(index)
            for index, (text, context) in enumerate(zip(record.captions or (), contexts, strict=True))
        ]

    async def _make(
        self, record: Record, contexts: Sequence[QueryContext], provider: CaptionProvider | None = None
    ) -> list[SelectedCaption]:
        used = self._used(record)
        return await run_together(
            self._caption(record.key, index, contexts[index], image, provider or self.pipeline.captions)
            if index in used
            else _completed(_unused(index))
            for index, image in enumerate(record.instance.images)
        )

    def _used(self, record: Record) -> set[int]:
        return set(used_images(get_task(record.task), record.instance, self.pipeline.settings.wire_format))

    async def _caption(
        self, record: str, index: int, context: QueryContext, image: PlacedImage, provider: CaptionProvider
    ) -> SelectedCaption:
        def without(reason: str, cost: Cost) -> SelectedCaption:
            return SelectedCaption(outcome=CaptionOutcome(image=index, error=reason), cost=cost)

        resolved = self._resolved(image)
        if resolved.ref is None:
            return without("there is no image", Cost())
        try:
            result = await provider.get(resolved, context, save=True)
        except ImageError as error:
            return without(str(error), Cost())
        except ModelError as error:
            raise_if_unavailable(error)
            return without(str(error), Cost(captioner_calls=1))
        cost, caption = cost_of(result.usage, captioner_calls=1), result.caption
        if caption is None:
            return without(NOTHING_TO_DESCRIBE, cost)
        if caption.source == "cache":
            cost = self._costs.get(record, caption.key) or Cost(cached_captions=1)
        else:
            await asyncio.to_thread(self._costs.add, record, caption.key, cost)
        return SelectedCaption(outcome=CaptionOutcome(image=index, text=caption.text), caption=caption, cost=cost)

    def _resolved(self, image: PlacedImage) -> PlacedImage:
        return image.model_copy(update={"ref": image.ref and self._resolve(image.ref)})

    async def _judge(
        self, selected: Sequence[SelectedCaption], instance: Instance, contexts: Sequence[QueryContext]
    ) -> list[SelectedCaption]:
        judged = zip(selected, contexts, strict=True)
        return await run_together(
            self._gate(each, instance.with_image(index), context) for index, (each, context) in enumerate(judged)
        )

    async def _gate(self, selected: SelectedCaption, instance: Instance, context: QueryContext) -> SelectedCaption:
        """Judges the caption of the only image of an instance."""
        (image,) = instance.images
        if selected.caption is None:
            return selected
        caption, ref = selected.caption, self._resolved(image).ref
        with track_usage_by_name() as usages:
            with track_usage() as usage:
                decision = await self.pipeline.gate(caption, context, image=ref, instance=instance)
            # The votes of the remaining judges are needed only for calibration, so they do not count as a cost.
            calls = len(decision.votes) + len(decision.claims)
            cost = add_costs((selected.cost, cost_of(usage, judge_calls=calls)))
            decision = await self.pipeline.gate(
                caption,
                context,
                image=ref,
                instance=instance,
                ask_all=True,
                previous_votes=decision.votes,
                previous_claims=decision.claims,
            )
        raise_if_judge_unavailable((*decision.votes, *(claim.vote for claim in decision.claims)))
        caption = without_false_claims(caption, decision.claims)
        return SelectedCaption(
            outcome=selected.outcome.model_copy(
                update={
                    "text": caption.text or selected.outcome.text,
                    "kept": decision.kept,
                    "votes": decision.votes,
                    "signals": decision.signals,
                    "removed": tuple(claim.text for claim in decision.claims if not claim.kept),
                }
            ),
            caption=caption if decision.kept else None,
            cost=cost,
            judge_costs={name: add_costs((selected.cost, cost_of(usages[name], judge_calls=1))) for name in usages},
        )


def cost_of(usage: Usage, **calls: int) -> Cost:
    """Returns the cost of calls.

    Args:
        usage: What the calls took.
        **calls: The number of calls, by the field of :class:`~caslie_tools.evaluation.outcomes.Cost`.
    """
    return Cost(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        seconds=usage.seconds,
        **calls,
    )


def add_costs(costs: Iterable[Cost]) -> Cost:
    """Returns the sum of costs."""
    each = [cost.model_dump() for cost in costs]
    return Cost(**{name: sum(cost[name] for cost in each) for name in Cost.model_fields})


def _given(index: int, text: str | None, context: QueryContext) -> SelectedCaption:
    if text is None:
        return SelectedCaption(outcome=CaptionOutcome(image=index, error="the data has no caption for this image"))
    caption = Caption.given(text, context)
    return SelectedCaption(outcome=CaptionOutcome(image=index, text=text), caption=caption)


def _unused(index: int) -> SelectedCaption:
    reason = "the wire format 'paper' uses only the first image of a text"
    return SelectedCaption(outcome=CaptionOutcome(image=index, error=reason))


def _by_verdict(given: SelectedCaption, kept: bool | None) -> SelectedCaption:
    """Returns a caption in the data as the vote in the data decides. Without a vote, it is not used."""
    if given.caption is None:
        return given
    error = "the data has no vote on this caption" if kept is None else ""
    outcome = given.outcome.model_copy(update={"kept": bool(kept), "error": error})
    return given.model_copy(update={"outcome": outcome, "caption": given.caption if kept else None})


def _by_judge(made: SelectedCaption, judged: SelectedCaption, judge: str) -> SelectedCaption:
    """Returns a caption as one judge alone decides.

    Args:
        made: The caption, before it is judged.
        judged: The same caption with the votes of the jury.
        judge: The judge's name.
    """
    votes = tuple(vote for vote in judged.outcome.votes if vote.judge == judge)
    if made.caption is None or not votes:
        return made
    kept = votes[0].verdict == "yes"
    return SelectedCaption(
        outcome=made.outcome.model_copy(update={"kept": kept, "votes": votes}),
        caption=made.caption if kept else None,
        cost=judged.judge_costs[judge],
    )


async def _completed(selected: SelectedCaption) -> SelectedCaption:
    return selected
