"""Captions and verdicts that go into a dataset: EC3 for every place of every instance, and the jury's vote on each.

A caption is made for the very context it stands in, never one reused from a similar context: so what an instance gets
does not depend on which instance came first. Each is stored at once; a build that goes on makes none again.
"""

import asyncio
from collections.abc import Sequence

from caslie_tools._concurrency import ConcurrencyLimit, SingleFlight, run_together
from caslie_tools.data.records import Record
from caslie_tools.domain import Caption, FrozenModel, GateDecision, ProgressCallback, QueryContext, caption_key
from caslie_tools.exceptions import ImageError, ModelError
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.availability import raise_if_judge_unavailable, raise_if_unavailable
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION
from caslie_tools.tasks import PlacedImage, get_task

_BATCH_RECORDS = 256


class Told(FrozenModel):
    """What became of one image of an instance."""

    caption: str | None = None
    kept: bool | None = None
    """The jury's verdict; ``None`` without a caption, or where judges that failed left no quorum."""
    error: str = ""
    """Why there is no caption, where something went wrong."""


async def tell(
    records: Sequence[Record], pipeline: Pipeline, *, progress: ProgressCallback | None = None
) -> list[tuple[Told, ...]]:
    """Captions and judges the images of records, a few at once; returns one :class:`Told` per image of each.

    Args:
        records: Their images are files named by their content's SHA-256.
        pipeline: Store, captioners, jury and bounds.
        progress: Told of every finished record.

    Raises:
        EndpointUnavailableError: If a model cannot be reached: what is missing for that is no data.
        MissingExtraError: If an optional dependency of a captioner is not installed.
        StoreError: If the store cannot be written.
    """
    teller = _Teller(pipeline)
    told: list[tuple[Told, ...]] = []
    for start in range(0, len(records), _BATCH_RECORDS):
        batch = records[start : start + _BATCH_RECORDS]
        told += await run_together(teller.tell(record) for record in batch)
        if progress is not None:
            progress("captioning", batch[-1].id, len(told), len(records))
    return told


class _Teller:
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._looking = ConcurrencyLimit(pipeline.settings.max_parallel_images)
        self._making = SingleFlight[Caption | None]()

    async def tell(self, record: Record) -> tuple[Told, ...]:
        places = get_task(record.task).places(record.instance)
        return tuple(
            await run_together(
                self._image_result(image, places[image.place].context) for image in record.instance.images
            )
        )

    async def _image_result(self, image: PlacedImage, context: QueryContext) -> Told:
        if image.ref is None or image.ref.path is None:
            return Told()
        picture = image.ref.path.stem
        try:
            caption = await self._making(
                (picture, image.product, context), lambda: self._caption(picture, image, context)
            )
        except (ImageError, ModelError) as error:
            raise_if_unavailable(error)
            return Told(error=str(error))
        if caption is None:
            return Told(error="the captioner has nothing to say about it")
        decision = await self._pipeline.gate(caption, context, image=image.ref)
        return Told(caption=caption.text, kept=_verdict(decision, self._pipeline.cqe.quorum))

    async def _caption(self, picture: str, image: PlacedImage, context: QueryContext) -> Caption | None:
        pipeline = self._pipeline
        for captioner in pipeline.ec3.identities:
            key = caption_key(picture, context, captioner, EC3_PROMPT_VERSION)
            if (known := await asyncio.to_thread(pipeline.store.get_caption, key)) is not None:
                return known
        async with self._looking():
            assert image.ref is not None  # noqa: S101 (the caller looked)
            made = await pipeline.make_caption(await pipeline.loader.load(image.ref), context, product=image.product)
        if made is not None:
            await pipeline.store.aput_captions([made])
        return made


def _verdict(decision: GateDecision, quorum: int) -> bool | None:
    """Returns the jury's verdict, ``None`` where it lacks only the votes of judges that failed.

    Raises:
        EndpointUnavailableError: If a judge cannot be reached.
    """
    raise_if_judge_unavailable(decision.votes)
    failed = [vote for vote in decision.votes if vote.reason.startswith("failed: ")]
    possible = len(decision.votes) - decision.abstentions + decision.unasked
    return None if possible < quorum <= possible + len(failed) else decision.kept
