"""The treatment ``pixels``: the vision predictor answers from the images themselves."""

from caslie_tools._concurrency import ConcurrencyLimit, run_together
from caslie_tools.data.records import Record
from caslie_tools.evaluation.outcomes import CaptionOutcome
from caslie_tools.evaluation.predictor_results import PredictorResult, result_of
from caslie_tools.evaluation.products import ImageResolver
from caslie_tools.evaluation.selected_captions import SelectedCaption
from caslie_tools.exceptions import ImageError
from caslie_tools.images.loading import LoadedImage
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.pipeline.unim3 import ask_predictor
from caslie_tools.roles.interfaces import VisionPredictor, VisionRequest
from caslie_tools.tasks import PlacedImage, get_task
from caslie_tools.tasks.fusion import fuse


class PixelAnswers:
    """Answers instances from their text and their images.

    Args:
        pipeline: Loads the images, and has the limits.
        predictor: The vision predictor.
        resolve: Finds the reference to load for an image.
        max_images: Most images of an instance that the predictor accepts. ``None`` for any number.
    """

    def __init__(
        self, pipeline: Pipeline, predictor: VisionPredictor, resolve: ImageResolver, *, max_images: int | None
    ) -> None:
        self.pipeline = pipeline
        self.predictor = predictor
        self.max_images = max_images
        self._resolve = resolve
        self._limit = ConcurrencyLimit(pipeline.settings.max_parallel_images)

    def accepts(self, record: Record) -> bool:
        """Returns whether the predictor accepts the number of images of a record."""
        images = sum(image.ref is not None for image in record.instance.images)
        return self.max_images is None or images <= self.max_images

    async def answer(self, record: Record) -> tuple[list[SelectedCaption], PredictorResult]:
        """Returns an entry without a caption for each image, which says why an image is missing, and the answer."""
        task, instance = get_task(record.task), record.instance
        places = task.places(instance)
        text_only = fuse(task, instance.model_copy(update={"images": ()}), [])
        async with self._limit():  # from here on, the images of the instance are in memory
            loaded = await run_together(self._load(image) for image in instance.images)
            images = tuple(
                (places[image.place].name, pixels)
                for image, pixels in zip(instance.images, loaded, strict=True)
                if isinstance(pixels, LoadedImage)
            )
            result = await result_of(
                ask_predictor(
                    self.predictor,
                    VisionRequest(instance=text_only, images=images),
                    text_only,
                    timeout_seconds=self.pipeline.settings.predictor_timeout_seconds,
                )
            )
        errors = ["" if isinstance(each, LoadedImage) else each for each in loaded]
        entries = [CaptionOutcome(image=index, error=error) for index, error in enumerate(errors)]
        return [SelectedCaption(outcome=entry) for entry in entries], result

    async def _load(self, image: PlacedImage) -> LoadedImage | str:
        """Returns an image, or why it is missing."""
        ref = image.ref and self._resolve(image.ref)
        if ref is None:
            return "there is no image"
        try:
            return await self.pipeline.loader.load(ref)
        except ImageError as error:
            return str(error)
