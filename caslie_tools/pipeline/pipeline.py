"""Product sight: the steps of the main job, wired to a store and models, knowing nothing of any graph.

understand → recall → per image: find or make a caption → gate → fuse and predict → remember. The state machine in
``graphs/`` and the tools are thin wrappers around this.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field, JsonValue

from caslie_tools.domain import Caption, FrozenModel, GateDecision, ImageRef, Prediction, QueryContext, Vote
from caslie_tools.exceptions import InputError
from caslie_tools.images.lazy import LazyImage
from caslie_tools.images.loading import ImageLoader
from caslie_tools.pipeline.captioning import CaptionProvider
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.pipeline.ec3 import EC3
from caslie_tools.pipeline.tuned_gate import TunedGate
from caslie_tools.pipeline.unim3 import UniM3
from caslie_tools.roles.interfaces import JudgeRequest, Models
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import PRODUCT_QA, Instance, PlacedImage, Task, get_task
from caslie_tools.tasks.definition import QuestionForm
from caslie_tools.tasks.fusion import fuse

MAX_QUESTION_CHARACTERS = 4000


class Request(FrozenModel):
    """What is asked: an open question, or one instance of a task."""

    task: str = PRODUCT_QA.name
    question: str = ""
    """A question about products of the store, for a task that builds its instances from questions."""
    record: dict[str, JsonValue] | list[JsonValue] | None = None
    """The instance in the dataset's own form, or only its input. It takes the place of a question."""
    images: tuple[ImageRef | None, ...] = ()
    """The instance's images in order, or pictures the shopper brought along with a question."""
    products: tuple[str, ...] = ()
    """Ids of the products a question is about; none: the store is searched."""
    where: str | dict[str, JsonValue] | None = None
    """Filter on the products that are searched."""
    max_products: int | None = Field(default=None, ge=1, le=50)
    """How many products are looked at; by default what the settings say."""


class ImageResult(FrozenModel):
    """What became of one image."""

    index: int
    """Position among the instance's images."""
    image: PlacedImage
    caption: Caption | None = None
    decision: GateDecision | None = None
    error: str = ""
    """Why there is no caption, where something went wrong."""

    @property
    def kept(self) -> bool:
        """Whether the caption is fused."""
        return self.caption is not None and self.decision is not None and self.decision.kept


class Pipeline:
    """A store, a jury and models, ready to look at products.

    Args:
        store: The caption store.
        models: One model per role.
        settings: Limits and thresholds; by default the environment's.

    Raises:
        SettingsError: If the settings' tuned gate cannot be read, or belongs to another jury.
    """

    def __init__(self, store: CaptionStore, models: Models, settings: Settings | None = None) -> None:
        self.settings = settings = settings or Settings.load()
        self.store = store
        self.loader = ImageLoader(settings.images)
        self.ec3 = EC3(models.captioners, timeout_seconds=settings.captioner_timeout_seconds)
        self.captions = CaptionProvider(store, self.ec3, self.loader, max_parallel_images=settings.max_parallel_images)
        self.cqe = CQE(
            models.judges,
            quorum=settings.quorum,
            early_stop=settings.early_stop,
            gate=None if settings.gate is None else TunedGate.load(settings.gate),
            max_concurrency=settings.max_parallel_votes,
            timeout_seconds=settings.judge_timeout_seconds,
        )
        self.unim3 = UniM3(models.predictor, timeout_seconds=settings.predictor_timeout_seconds)
        # At 1 contexts must be equal: two different contexts with the same text have a cosine of 1 as well.
        self._reuse_threshold = None if settings.reuse_threshold == 1 else settings.reuse_threshold

    def validate(self, request: Request) -> Instance | None:
        """Checks a request; returns its instance, or ``None`` for a question whose products are yet to be found.

        Raises:
            InputError: If there is nothing to answer, or the instance does not fit its task.
        """
        task = get_task(request.task)
        if request.record is not None:
            record: Any = request.record
            instance = task.read(record if isinstance(record, dict) else {"input": record}, request.images)
            self._check_paths(image.ref for image in instance.images)
            return instance
        _question_form(task)
        self._check_paths(request.images)
        question = request.question.strip()
        if not question:
            raise InputError("the question is empty; ask something about a product")
        if len(question) > MAX_QUESTION_CHARACTERS:
            raise InputError(f"the question has {len(question)} characters; {MAX_QUESTION_CHARACTERS} is the most")
        return None

    def _check_paths(self, refs: Iterable[ImageRef | None]) -> None:
        if not self.settings.allow_local_paths and any(ref is not None and ref.path is not None for ref in refs):
            raise InputError("pictures cannot be named by path here (CASLIE_ALLOW_LOCAL_PATHS); send a URL or bytes")

    async def retrieve(self, request: Request) -> Instance:
        """Finds the products a question is about, and puts the question to them.

        Raises:
            InputError: If the task does not build its instances from questions.
            UnknownProductError: If a product is not in the store.
            ImageError: If a picture the shopper brought cannot be read.
            FilterError: If the filter cannot be understood.
        """
        task = get_task(request.task)
        from_question = _question_form(task)
        pictures = [ref for ref in request.images if ref is not None]
        shown = [await self.loader.load(ref) for ref in pictures]
        if request.products:
            products = await asyncio.to_thread(self.store.get_products, request.products)
        else:
            hits = await asyncio.to_thread(
                self.store.search_products,
                request.question,
                picture=shown[0] if shown and self.store.has_pictures else None,
                k=request.max_products or self.settings.products_per_question,
                where=request.where,
            )
            products = [hit.product for hit in hits]
        instance = from_question(request.question.strip(), products, pictures)
        known = {product.id: await asyncio.to_thread(self.store.images_of, product.id) for product in products}
        seen: dict[str, int] = {}
        images = []
        for image in instance.images:
            sha256 = None
            if image.product is not None:
                position = seen[image.product] = seen.get(image.product, -1) + 1
                sha256 = known[image.product][position] if position < len(known[image.product]) else None
            images.append(image.model_copy(update={"sha256": sha256}))
        return task.check(instance.model_copy(update={"images": tuple(images)}))

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
        whole_jury: bool = False,
        earlier: Sequence[Vote] = (),
    ) -> GateDecision:
        """Lets the jury (CQE) vote on a caption, for this context, not the one it was made for.

        Args:
            caption: The caption.
            context: What it is for now.
            image: The image, for judges that look at it.
            whole_jury: Ask every judge even if the verdict is settled, to see how thin it is.
            earlier: Votes of the first judges on this caption and context, who are not asked again.
        """
        shown = None if image is None else LazyImage(image, self.loader)
        request = JudgeRequest(context=context, caption=caption.text, evidence=caption.evidence, image=shown)
        return await self.cqe.ainvoke(request, whole_jury=whole_jury, earlier=earlier)

    async def predict(self, instance: Instance, image_results: Sequence[ImageResult]) -> Prediction:
        """Fuses the kept captions and answers (uniM3).

        Raises:
            ModelError: If the predictor failed.
        """
        kept = {result.index: result.caption for result in image_results if result.kept}
        captions = [kept.get(index) for index in range(len(instance.images))]
        fused = fuse(get_task(instance.task), instance, captions, wire=self.settings.wire_format)
        return await self.unim3.ainvoke(fused)

    async def save_captions(self, image_results: Sequence[ImageResult]) -> int:
        """Stores the captions that were made; returns how many.

        Raises:
            StoreError: If the store cannot be written.
        """
        made = {
            result.caption.key: result.caption
            for result in image_results
            if result.caption and result.caption.source == "generated"
        }
        if made:
            await asyncio.to_thread(self.store.put_captions, list(made.values()))
        return len(made)


def _question_form(task: Task) -> QuestionForm:
    if task.from_question is None:
        raise InputError(f"{task.name} needs an instance: pass its input in the dataset's form")
    return task.from_question
