"""Captions and verdicts for a dataset: EC3 captions every image of every instance, and CQE judges each caption.

A caption is made for the exact context of its place and never reused from a similar context, so that an instance does
not depend on the instances before it. Every caption is stored at once: an interrupted build resumes without making a
caption twice.
"""

from collections.abc import Sequence

from caslie_tools._concurrency import run_together
from caslie_tools.data.records import Record
from caslie_tools.domain import FrozenModel, GateDecision, ProgressCallback, QueryContext
from caslie_tools.exceptions import ImageError, ModelError
from caslie_tools.pipeline.captioning import NOTHING_TO_DESCRIBE
from caslie_tools.pipeline.claims import without_false_claims
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.availability import raise_if_judge_unavailable, raise_if_unavailable
from caslie_tools.tasks import Instance

_BATCH_RECORDS = 256


class CaptionedImage(FrozenModel):
    """The caption of one image of an instance, and the jury's verdict on it."""

    caption: str | None = None
    kept: bool | None = None
    """The verdict. ``None`` without a caption, or if judges failed and the others are fewer than the quorum."""
    error: str = ""
    """Why captioning failed. Empty if it did not fail, or if there is no image."""


async def caption_records(
    records: Sequence[Record], pipeline: Pipeline, *, progress: ProgressCallback | None = None
) -> list[tuple[CaptionedImage, ...]]:
    """Captions and judges the images of records, several at the same time.

    Args:
        records: Their images are files named by the SHA-256 of their content.
        pipeline: Store, captioners, jury and limits.
        progress: Called after every batch of records.

    Returns:
        For each record, one :class:`CaptionedImage` per image.

    Raises:
        EndpointUnavailableError: If a model cannot be reached. Its missing answers must not become data.
        MissingExtraError: If an optional dependency of a captioner is not installed.
        ModelError: If a judge lacks an optional dependency, or an ability of its model.
        StoreError: If the store cannot be written.
    """
    captioned: list[tuple[CaptionedImage, ...]] = []
    for start in range(0, len(records), _BATCH_RECORDS):
        batch = records[start : start + _BATCH_RECORDS]
        captioned += await run_together(_caption_record(record, pipeline) for record in batch)
        if progress is not None:
            progress("captioning", batch[-1].id, len(captioned), len(records))
    return captioned


async def _caption_record(record: Record, pipeline: Pipeline) -> tuple[CaptionedImage, ...]:
    contexts = pipeline.contexts(record.instance)
    return tuple(
        await run_together(
            _caption_image(record.instance.with_image(index), contexts[image.place].context, pipeline)
            for index, image in enumerate(record.instance.images)
        )
    )


async def _caption_image(instance: Instance, context: QueryContext, pipeline: Pipeline) -> CaptionedImage:
    """Captions and judges the only image of an instance."""
    (image,) = instance.images
    if image.ref is None or image.ref.path is None:
        return CaptionedImage()
    image = image.model_copy(update={"sha256": image.ref.path.stem})
    try:
        caption = (await pipeline.captions.get(image, context, save=True)).caption
    except (ImageError, ModelError) as error:
        raise_if_unavailable(error)
        return CaptionedImage(error=str(error))
    if caption is None:
        return CaptionedImage(error=NOTHING_TO_DESCRIBE)
    decision = await pipeline.gate(caption, context, image=image.ref, instance=instance)
    text = without_false_claims(caption, decision.claims).text
    return CaptionedImage(caption=text or caption.text, kept=_verdict(decision, pipeline.cqe.quorum))


def _verdict(decision: GateDecision, quorum: int) -> bool | None:
    """Returns the jury's verdict, or ``None`` if the votes of judges that failed could have completed the quorum.

    Raises:
        EndpointUnavailableError: If a judge cannot be reached.
        ModelError: If a judge lacks an optional dependency, or an ability of its model.
    """
    raise_if_judge_unavailable(decision.votes)
    failed = [vote for vote in decision.votes if vote.failure is not None]
    possible = len(decision.votes) - decision.abstentions + decision.skipped_judges
    return None if possible < quorum <= possible + len(failed) else decision.kept
