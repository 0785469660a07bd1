"""The main class of the package: a store, the models of a profile and the state machine in one object."""

from collections.abc import Awaitable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from caslie_tools._concurrency import run_sync
from caslie_tools.domain import ImageRef, Product, ProgressCallback
from caslie_tools.exceptions import InputError
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.pipeline.response import Response
from caslie_tools.profiles.named import load_profile
from caslie_tools.profiles.profile import Profile
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore, ProductHit

# LangGraph is imported when the graph is first used, so that a search starts sooner.
if TYPE_CHECKING:
    from langchain_core.tools import BaseTool
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from caslie_tools.catalogue.format import ReadingOptions
    from caslie_tools.catalogue.reports import IndexPreview, IndexReport
    from caslie_tools.graphs.run import CaslieGraph

ImageLike = ImageRef | Path | str | bytes


class Caslie:
    """Answers questions about products and solves tasks, with one caption store and the models of one profile.

    Create an object with :meth:`open`. Use it as a context manager, or call :meth:`close`.

    Attributes:
        store: The caption store, a LangChain vector store.
        pipeline: The steps (EC3, CQE, uniM3). Each of them can be used separately.
        settings: The settings, with the defaults of the profile.
        profile: The profile.
    """

    def __init__(
        self,
        store: CaptionStore,
        profile: Profile,
        settings: Settings | None = None,
        *,
        checkpointer: "BaseCheckpointSaver[Any] | None" = None,
    ) -> None:
        settings = settings or Settings.load()
        # What the user sets wins over the profile, and the profile over the defaults of `Settings`.
        self.settings = settings = settings.with_defaults(
            **profile.pipeline.model_dump(), gate=profile.gate, text_first=profile.text_first
        )
        self.profile = profile
        self.store = store
        self.pipeline = Pipeline(store, profile.models(store), settings)
        self._checkpointer = checkpointer

    @cached_property
    def graph(self) -> "CaslieGraph":
        """The compiled state machine, for streaming, checkpoints and interrupts."""
        from caslie_tools.graphs import build_graph

        return build_graph(self.pipeline, checkpointer=self._checkpointer)

    @classmethod
    def open(
        cls,
        store: Path | str | None = None,
        *,
        profile: Profile | str | None = None,
        settings: Settings | None = None,
        create: bool = True,
        checkpointer: "BaseCheckpointSaver[Any] | None" = None,
    ) -> Self:
        """Opens a store with the models of a profile.

        Args:
            store: The folder of the store. By default the folder in the settings.
            profile: A profile or its name. By default the profile in the settings.
            settings: By default they are read from the environment.
            create: Whether to create the store if it does not exist. Its files are created by the first write.
            checkpointer: A checkpointer of LangGraph, to resume runs after a crash and to ask a person.

        Raises:
            SettingsError: If the profile or a setting cannot be used.
            MissingExtraError: If an optional dependency of the profile is not installed.
            ModelError: If a model server of the profile cannot be reached or does not serve its model. With
                ``CASLIE_CHECK_MODELS=false`` the servers are not checked.
            StoreError: If the store cannot be opened.
        """
        settings = settings or Settings.load()
        chosen = profile if isinstance(profile, Profile) else load_profile(profile or settings.profile)
        if settings.check_models and chosen.check is not None:
            run_sync(_completed(chosen.check()))
        opened = CaptionStore.open(
            store or settings.store,
            chosen.embeddings,
            image_embeddings=chosen.image_embeddings,
            create=create,
            busy_timeout_seconds=settings.busy_timeout_seconds,
        )
        try:
            return cls(opened, chosen, settings, checkpointer=checkpointer)
        except BaseException:
            opened.close()
            raise

    async def aindex(
        self,
        catalogue: Path | str | Sequence[Product],
        *,
        reading: "ReadingOptions | None" = None,
        prune: bool = False,
        progress: ProgressCallback | None = None,
    ) -> "IndexReport":
        """Indexes a catalogue file or a list of products.

        See :func:`~caslie_tools.catalogue.indexing.index_catalogue`.

        Args:
            catalogue: The file or the products.
            reading: What is known about the file, such as the columns of the fields.
            prune: Remove the products of the store that the catalogue does not have.
            progress: Called for every finished product of each pass.
        """
        from caslie_tools.catalogue.indexing import index_catalogue, index_products

        if isinstance(catalogue, Path | str):
            return await index_catalogue(
                Path(catalogue), self.pipeline, reading=reading, prune=prune, progress=progress
            )
        return await index_products(catalogue, self.pipeline, prune=prune, progress=progress)

    def index(
        self,
        catalogue: Path | str | Sequence[Product],
        *,
        reading: "ReadingOptions | None" = None,
        prune: bool = False,
        progress: ProgressCallback | None = None,
    ) -> "IndexReport":
        """Synchronous version of :meth:`aindex`."""
        return run_sync(self.aindex(catalogue, reading=reading, prune=prune, progress=progress))

    def preview_index(
        self,
        catalogue: Path | str | Sequence[Product],
        *,
        reading: "ReadingOptions | None" = None,
        prune: bool = False,
    ) -> "IndexPreview":
        """Tells what :meth:`index` would change. Nothing is written, captioned or fetched from the web."""
        from caslie_tools.catalogue.upkeep import preview_catalogue, preview_products

        if isinstance(catalogue, Path | str):
            return run_sync(preview_catalogue(Path(catalogue), self.pipeline, reading=reading, prune=prune))
        return run_sync(preview_products(catalogue, self.pipeline, prune=prune))

    async def aask(
        self,
        question: str,
        *,
        products: Sequence[str] = (),
        images: Sequence[ImageLike] = (),
        where: str | Mapping[str, Any] | None = None,
        use_images: bool = True,
    ) -> Response:
        """Answers an open question about one product, several products or the whole catalogue.

        Args:
            question: The shopper's question.
            products: Ids of the products that the question is about. By default the store is searched.
            images: The shopper's own images.
            where: Filter for the search, for example ``price<50``.
            use_images: ``False`` answers from text only.

        Raises:
            InputError: If the question, a product, an image or the filter cannot be used.
            ModelError: If the predictor failed.
        """
        request: dict[str, Any] = {"question": question, "products": list(products), "where": where}
        return await self._run(request, images, use_images)

    def ask(
        self,
        question: str,
        *,
        products: Sequence[str] = (),
        images: Sequence[ImageLike] = (),
        where: str | Mapping[str, Any] | None = None,
        use_images: bool = True,
    ) -> Response:
        """Synchronous version of :meth:`aask`."""
        return run_sync(self.aask(question, products=products, images=images, where=where, use_images=use_images))

    async def apredict(
        self, task: str, record: Any, *, images: Sequence[ImageLike | None] = (), use_images: bool = True
    ) -> Response:
        """Solves one instance of a task, in the form of the dataset.

        Args:
            task: The name of a task, or the paper's abbreviation.
            record: The instance (``input``, ``options``, ``images`` ...), or only its input.
            images: The images in the order of the dataset, in place of the images of the record. ``None`` for a missing
                image.
            use_images: ``False`` answers from text only.

        Raises:
            InputError: If the task is unknown or the instance does not fit it.
            ModelError: If the predictor failed.
        """
        return await self._run({"task": task, "record": record}, images, use_images)

    def predict(
        self, task: str, record: Any, *, images: Sequence[ImageLike | None] = (), use_images: bool = True
    ) -> Response:
        """Synchronous version of :meth:`apredict`."""
        return run_sync(self.apredict(task, record, images=images, use_images=use_images))

    async def asearch(
        self,
        text: str = "",
        *,
        image: ImageLike | None = None,
        where: str | Mapping[str, Any] | None = None,
        count: int = 4,
    ) -> list[ProductHit]:
        """Searches products by text, by an image or by both.

        Args:
            text: What to search for.
            image: An image of a similar product.
            where: Filter on the products, for example ``price<50``.
            count: Number of products to return.

        Raises:
            InputError: If neither a text nor an image is given, or the image or the filter cannot be used.
        """
        if not text.strip() and image is None:
            raise InputError("there is nothing to search for; give a text, an image or both")
        picture = None if image is None else await self.pipeline.loader.load(_image_ref(image))
        return await self.store.asearch_products(text.strip() or None, picture=picture, where=where, k=count)

    def search(
        self,
        text: str = "",
        *,
        image: ImageLike | None = None,
        where: str | Mapping[str, Any] | None = None,
        count: int = 4,
    ) -> list[ProductHit]:
        """Synchronous version of :meth:`asearch`."""
        return run_sync(self.asearch(text, image=image, where=where, count=count))

    def captions(self, product: str | None = None) -> list[dict[str, Any]]:
        """Returns the stored captions as plain JSON values: the text, its context, its provenance and its verdict.

        ``kept`` is whether a jury kept the caption; ``None`` if no jury has judged it, as for a general caption.

        Args:
            product: Id of a product, to return only the captions of its images.

        Raises:
            UnknownProductError: If the product is not in the store.
        """
        if product is not None:
            self.store.get_product(product)
        return [
            {
                "products": self.store.products_of(caption.image),
                "image": caption.image,
                "text": caption.text,
                "task": caption.context.task,
                "focus": caption.context.focus,
                "kept": self.store.caption_verdict(caption.key),
                "captioner": caption.captioner,
                "prompt_version": caption.prompt_version,
                "created_at": caption.created_at.isoformat(),
                "evidence": [evidence.model_dump(mode="json") for evidence in caption.evidence],
            }
            for caption in self.store.captions(product_id=product)
        ]

    def tools(self) -> "list[BaseTool]":
        """Returns the LangChain tools for an agent."""
        from caslie_tools.toolkit import CaslieToolkit

        return CaslieToolkit(pipeline=self.pipeline, graph=self.graph).get_tools()

    def close(self) -> None:
        """Closes the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _run(self, request: dict[str, Any], images: Sequence[ImageLike | None], use_images: bool) -> Response:
        from caslie_tools.graphs import Context
        from caslie_tools.graphs.run import run_graph

        refs = [None if image is None else _image_ref(image) for image in images]
        response = await run_graph(
            self.graph,
            {**request, "images": refs},  # type: ignore[typeddict-item]  # every key of the request is a key of Input
            context=Context(use_images=use_images),
        )
        if (prices := self.profile.prices) is None:
            return response
        cost = prices.cost(response.usage.prompt_tokens, response.usage.completion_tokens)
        return response.model_copy(update={"usage": response.usage.model_copy(update={"cost": cost})})


async def _completed(check: Awaitable[None]) -> None:
    await check


def _image_ref(image: ImageLike) -> ImageRef:
    if isinstance(image, ImageRef):
        return image
    if isinstance(image, bytes):
        return ImageRef(data=image)
    return ImageRef(path=image) if isinstance(image, Path) else ImageRef.parse(image)
