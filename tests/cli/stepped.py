"""The light profile, step by step: a model works when it may, so that a test can stop the process in between.

Every call of a model announces itself with a line ``asked ...`` on standard error and takes one byte from standard
input; at its end everything goes on unasked.
"""

import os
import sys
from collections.abc import Sequence

from caslie_tools.domain import CaptionDraft
from caslie_tools.images.loading import LoadedImage
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import CaptionRequest, Models
from caslie_tools.store import CaptionStore
from tests.doubles import FunctionCaptioner, HashEmbeddings, HashPictures, light_captioner, light_models

ASKED = "asked "


def _step(what: str) -> None:
    sys.stderr.write(f"{ASKED}{what}\n")
    sys.stderr.flush()
    os.read(0, 1)


class SteppedPictures(HashPictures):
    """Embeds a picture when it may."""

    def embed_images(self, images: Sequence[LoadedImage]) -> list[list[float]]:
        for image in images:
            _step(f"to embed {image.sha256[:8]}")
        return super().embed_images(images)


def profile() -> Profile:
    """Its captions also name the catalogue's nearest other picture: they come out different if that is missing."""
    import asyncio

    def models(store: CaptionStore) -> Models:
        light = light_captioner()

        async def caption(request: CaptionRequest) -> CaptionDraft:
            await asyncio.to_thread(_step, f"to caption {request.image.sha256[:8]}")
            draft = await light.ainvoke(request)
            exclude = () if request.product is None else (request.product,)
            hits = await asyncio.to_thread(store.nearest_pictures, request.image, k=100, exclude_products=exclude)
            near = sorted((-round(hit.score, 4), hit.image) for hit in hits)[:3]
            return CaptionDraft(text=f"{draft.text} Near {near}.", evidence=draft.evidence)

        others = light_models(store)
        return Models(
            captioners=[FunctionCaptioner(caption, name="stepped")], judges=others.judges, predictor=others.predictor
        )

    return Profile(name="stepped", embeddings=HashEmbeddings(), pictures=SteppedPictures(), models=models)
