"""The steps that answer a request, over a store and the models of all roles. They do not depend on LangGraph.

validate → retrieve → for each image: caption → gate → predict → save the captions. With text-first thresholds, an
answer from text comes before the images. The state machine in ``graphs/`` and the tools only call these steps.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field, JsonValue

from caslie_tools.domain import (
    Caption,
    CheckedClaim,
    FrozenModel,
    GateDecision,
    ImageRef,
    Prediction,
    Product,
    QueryContext,
    Vote,
)
from caslie_tools.exceptions import InputError
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import ImageLoader, LoadedImage
from caslie_tools.pipeline.bounded_contexts import BoundedContext, bounded_contexts
from caslie_tools.pipeline.budget import check_images, check_question, check_record
from caslie_tools.pipeline.captioning import CaptionProvider
from caslie_tools.pipeline.claims import ClaimChecker, without_false_claims
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.pipeline.ec3 import EC3
from caslie_tools.pipeline.stored_images import refer_to_store
from caslie_tools.pipeline.text_first import TextAnswer, TextFirst
from caslie_tools.pipeline.tuned_gate import TunedGate
from caslie_tools.pipeline.unim3 import UniM3
from caslie_tools.roles.interfaces import JudgeRequest, KnownAnswer, Models
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import PRODUCT_QA, Instance, PlacedImage, Task, get_task
from caslie_tools.tasks.definition import QuestionForm
from caslie_tools.tasks.fusion import fuse, require_complete, used_images


class Request(FrozenModel):
    """An open question, or one instance of a task."""

    task: str = PRODUCT_QA.name
    question: str = ""
    """A question about products of the store, for a task that builds its instances from questions."""
    record: dict[str, JsonValue] | list[JsonValue] | None = None
    """The instance in the form of the dataset, or only its input. It takes the place of a question."""
    images: tuple[ImageRef | None, ...] = ()
    """The images of the instance in order, or the shopper's own images for a question."""
    products: tuple[str, ...] = ()
    """Ids of the products that a question is about. If empty, the store is searched."""
    where: str | dict[str, JsonValue] | None = None
    """Filter for the search in the store."""
    max_products: int | None = Field(default=None, ge=1, le=50)
    """Number of products that are retrieved. By default the setting ``products_per_question``."""


class ImageResult(FrozenModel):
    """The caption of one image and the jury's decision about it."""

    index: int
    """Position among the images of the instance."""
    image: PlacedImage
    caption: Caption | None = None
    decision: GateDecision | None = None
    error: str = ""
    """Why captioning failed. Empty if it did not fail."""

    @property
    def kept(self) -> bool:
        """Whether the caption is fused into the predictor's input."""
        return self.caption is not None and self.decision is not None and self.decision.kept

    @property
    def fused_caption(self) -> Caption | None:
        """What is fused: the caption without its false claims. ``None`` if it is rejected, or if nothing is left."""
        if self.caption is None or self.decision is None or not self.decision.kept:
            return None
        caption = without_false_claims(self.caption, self.decision.claims)
        return caption if caption.text else None


class Pipeline:
    """The steps that answer a request.

    Args:
        store: The caption store.
        models: The models of all roles.
        settings: Limits and thresholds. By default they are read from the environment.

    Attributes:
        loader: Loads images.
        ec3: Captions images.
        captions: Finds stored captions or makes new ones.
        cqe: Judges captions.
        unim3: Predicts answers.
        text_first: Decides whether an answer from text alone is enough. ``None``: pictures are always looked at.
        text_tokens: Most tokens of text that captioners and judges take. ``None`` for any number.
        claims: Checks the claims of captions. ``None`` if they are not checked.
        vision_predictor: Answers from the images themselves, as a baseline of evaluations. ``None`` if there is none.

    Raises:
        InputError: If the quorum is larger than the jury.
        SettingsError: If the tuned gate of the settings cannot be read, belongs to another jury, or needs numbers that
            the models do not report; or if the text-first thresholds cannot be read or belong to another predictor.
    """

    def __init__(self, store: CaptionStore, models: Models, settings: Settings | None = None) -> None:
        self.settings = settings = settings or Settings.load()
        gate = None if settings.gate is None else TunedGate.load(settings.gate)
        if gate is not None:
            gate.require_captioners(models.captioners)
        self.store = store
        self.loader = ImageLoader(settings.images, resolve=store.resolve_image)
        self.ec3 = EC3(models.captioners, timeout_seconds=settings.captioner_timeout_seconds)
        store.captioners = self.ec3.identities  # a caption by a model that is not in use must not decide a search
        store.captions_per_image = settings.captions_per_image
        self.captions = CaptionProvider(store, self.ec3, self.loader, max_parallel_images=settings.max_parallel_images)
        self.cqe = CQE(
            models.judges,
            quorum=settings.quorum,
            early_stop=settings.early_stop,
            gate=gate,
            decider=models.decider,
            max_concurrency=settings.max_parallel_votes,
            timeout_seconds=settings.judge_timeout_seconds,
        )
        self.finder = models.finder
        self.unim3 = UniM3(models.predictor, timeout_seconds=settings.predictor_timeout_seconds)
        self.text_first = None if settings.text_first is None else TextFirst.load(settings.text_first)
        if self.text_first is not None:
            self.text_first.require_predictor(models.predictor.get_name())
        self.vision_predictor = models.vision_predictor
        self.text_tokens = models.text_tokens
        self.claims = None
        if models.claim_judge is not None:
            self.claims = ClaimChecker(
                models.claim_judge,
                threshold=models.claim_threshold,
                max_concurrency=settings.max_parallel_votes,
                timeout_seconds=settings.judge_timeout_seconds,
            )
        # At 1 contexts must be equal: two different contexts with the same text have a cosine of 1 as well.
        self._reuse_threshold = None if settings.reuse_threshold == 1 else settings.reuse_threshold

    def validate(self, request: Request) -> Instance | None:
        """Validates a request.

        Returns:
            The instance of the request, or ``None`` for a question: :meth:`retrieve` builds its instance.

        Raises:
            InputError: If the request exceeds its budget (:mod:`~caslie_tools.pipeline.budget`), the question is empty,
                the instance does not fit its task, a path is not allowed, or the wire format is ``paper`` and the
                instance lacks its instruction or its options.
        """
        task = get_task(request.task)
        check_images(request.images, self.settings)
        if request.record is not None:
            record: Any = request.record
            check_record(record)
            instance = task.read(record if isinstance(record, dict) else {"input": record}, request.images)
            require_complete(task, instance, self.settings.wire_format)
            # Without its last images, an instance such as a list of candidates would get a biased answer.
            if (count := len(self.used_images(instance))) > self.settings.max_images:
                raise InputError(
                    f"{task.name}: the instance has {count} images, more than {self.settings.max_images}; raise "
                    "CASLIE_MAX_IMAGES"
                )
            check_images((image.ref for image in instance.images), self.settings)
            return instance
        _question_form(task)
        check_question(request.question.strip(), len(request.images), self.settings)
        return None

    def used_images(self, instance: Instance) -> tuple[int, ...]:
        """Returns the positions of the images that can be captioned and fused: all that exist, with one exception.

        In the wire format ``paper``, a task of the published models uses only the first image of each text.
        """
        used = used_images(get_task(instance.task), instance, self.settings.wire_format)
        return tuple(index for index in used if instance.images[index].ref is not None)

    async def retrieve(self, request: Request) -> Instance:
        """Retrieves the products that a question is about and builds the instance.

        Raises:
            InputError: If the task does not build its instances from questions.
            UnknownProductError: If a product is not in the store.
            ImageError: If the image that is searched for cannot be read.
            FilterError: If the filter cannot be parsed.
        """
        task = get_task(request.task)
        from_question = _question_form(task)
        refs = [ref for ref in request.images if ref is not None]
        if request.products:
            products = await asyncio.to_thread(self.store.get_products, request.products)
        else:
            # Only the first image is searched for. The others are loaded when they are captioned, a few at a time.
            first = await self.loader.load(refs[0]) if refs and self.store.has_pictures else None
            products = await self._find_products(request, first)
        instance = from_question(request.question.strip(), products, refs)
        images = await refer_to_store(instance.images, {product.id: product for product in products}, self.store)
        return task.check(instance.model_copy(update={"images": images}))

    async def _find_products(self, request: Request, picture: LoadedImage | None) -> list[Product]:
        """Returns the products that the question selects by their fields, then those that a search finds."""
        limit = request.max_products or self.settings.products_per_question
        selected: list[str] = []
        if self.finder is not None:
            selected = await asyncio.to_thread(self.finder.find, request.question, request.where, limit)
        hits = await asyncio.to_thread(
            self.store.search_products,
            request.question,
            picture=picture,
            k=limit,
            where=request.where,
        )
        products = await asyncio.to_thread(self.store.get_products, selected)
        return [*products, *(hit.product for hit in hits if hit.product.id not in selected)][:limit]

    def labels(self, instance: Instance) -> tuple[str, ...]:
        """Returns the labels that an answer can have; empty for an open question."""
        return get_task(instance.task).labels(instance)

    def contexts(self, instance: Instance) -> list[BoundedContext]:
        """Returns the contexts of an instance's places: what captions of their images must help with.

        Texts that are too long for the models are cut.
        """
        return bounded_contexts(instance, wire=self.settings.wire_format, text_tokens=self.text_tokens)

    async def caption(self, image: PlacedImage, context: QueryContext) -> Caption | None:
        """Returns a stored caption for the context or a similar one, else makes a caption (EC3).

        A new caption is not stored yet: see :meth:`save_captions`. The result is ``None`` if there is no image, or if
        the captioner found nothing to describe.

        Raises:
            ImageError: If the image cannot be read.
            ModelError: If every captioner failed.
        """
        if image.ref is None:
            return None
        return (await self.captions.get(image, context, reuse_threshold=self._reuse_threshold)).caption

    async def gate(
        self,
        caption: Caption,
        context: QueryContext,
        *,
        image: ImageRef | None = None,
        instance: Instance | None = None,
        text_answer: TextAnswer | None = None,
        ask_all: bool = False,
        previous_votes: Sequence[Vote] = (),
        previous_claims: Sequence[CheckedClaim] = (),
    ) -> GateDecision:
        """Removes false claims from a caption, if claims are checked, and lets the jury (CQE) vote on the rest.

        Args:
            caption: The caption.
            context: What the caption is used for now. It may have been made for another context.
            image: The image, for judges that compare the caption with it.
            instance: The instance, with the caption's image as its only image: see
                :meth:`~caslie_tools.tasks.Instance.with_image`. Judges learn the options from it.
            text_answer: The answer from text alone, if it is known. A judge that compares answers does not ask again.
            ask_all: Ask all judges, even if the decision is settled. Without all votes, nobody can tell whether the
                decision is close.
            previous_votes: Votes of some judges on the same caption and context. These judges are not asked again.
            previous_claims: The claims of the same caption, if they were checked before.
        """
        lazy = None if image is None else LazyImage(image, self.loader)
        known = None
        if text_answer is not None:
            known = KnownAnswer(predictor=self.unim3.predictor, prediction=text_answer.prediction)
        request = JudgeRequest(
            context=context,
            caption=caption.text,
            evidence=caption.evidence,
            instance=instance,
            image=lazy,
            known_answer=known,
            wire_format=self.settings.wire_format,
        )
        claims = tuple(previous_claims)
        if self.claims is not None and not claims:
            claims = await self.claims.check(request)
        left = without_false_claims(caption, claims)
        if claims and not left.text:
            reason = "no claim of the caption is true to the image"
            return GateDecision(
                kept=False,
                quorum=self.cqe.quorum,
                reason=reason,
                decided_by="judge",
                one_vote_decides=False,
                claims=claims,
            )
        request = replace(request, caption=left.text, evidence=left.evidence)
        decision = await self.cqe.ainvoke(request, ask_all=ask_all, previous_votes=previous_votes)
        return decision.model_copy(update={"claims": claims})

    async def answer_from_text(self, instance: Instance) -> TextAnswer | None:
        """Answers from text alone, before any image is looked at, and says whether that is enough.

        The result is ``None`` if the task has no text-first threshold, or if there is no image to look at.

        Raises:
            ModelError: If the predictor failed.
            UnsupportedModelError: If the predictor reports no probabilities.
        """
        if self.text_first is None or instance.task not in self.text_first.thresholds:
            return None
        return self.text_first.judge(await self.predict(instance, ())) if self.used_images(instance) else None

    async def predict(
        self, instance: Instance, image_results: Sequence[ImageResult], *, text_answer: TextAnswer | None = None
    ) -> Prediction:
        """Fuses the kept captions into the instance and predicts the answer (uniM3).

        Args:
            instance: The instance.
            image_results: The captions of its images.
            text_answer: The answer from text alone, if it is known. It is the answer if no caption is kept.

        Raises:
            ModelError: If the predictor failed.
        """
        kept = {result.index: caption for result in image_results if (caption := result.fused_caption) is not None}
        if text_answer is not None and not kept:
            return text_answer.prediction
        captions = [kept.get(index) for index in range(len(instance.images))]
        fused = fuse(get_task(instance.task), instance, captions, wire=self.settings.wire_format)
        return await self.unim3.ainvoke(fused)

    async def save_captions(self, image_results: Sequence[ImageResult]) -> int:
        """Stores the new captions, and the use and the verdicts of all captions; returns the number of new captions.

        Raises:
            ModelError: If the embedding model failed.
            StoreError: If the store cannot be written.
        """
        used = {result.caption.key: result.caption for result in image_results if result.caption and result.caption.key}
        # A stored caption may have been made for a similar question. A rejection here says nothing about that one.
        verdicts = {
            result.caption.key: result.kept
            for result in image_results
            if result.caption
            and result.decision
            and not result.decision.jury_failed
            and (result.kept or result.caption.source == "generated")
        }
        if used:
            await asyncio.to_thread(self.store.put_captions, list(used.values()), verdicts=verdicts)
        return sum(caption.source == "generated" for caption in used.values())


def _question_form(task: Task) -> QuestionForm:
    if task.from_question is None:
        raise InputError(f"{task.name} needs an instance: pass its input in the dataset's form")
    return task.from_question
