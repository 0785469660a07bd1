"""The light profile with models that wait for permission, so that a test can stop the process between two calls.

Each call of a model prints a line that starts with ``waiting`` on standard error, and then reads one byte from standard
input. At the end of standard input, all further calls run without waiting.
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

WAITING = "waiting "


def _wait(action: str) -> None:
    sys.stderr.write(f"{WAITING}{action}\n")
    sys.stderr.flush()
    os.read(0, 1)


class SteppedPictures(HashPictures):
    """Waits before each image that it embeds."""

    def embed_images(self, images: Sequence[LoadedImage]) -> list[list[float]]:
        for image in images:
            _wait(f"to embed {image.sha256[:8]}")
        return super().embed_images(images)


def profile() -> Profile:
    """Its captions also name the nearest other images of the catalogue, so they differ if those are not stored yet."""
    import asyncio

    def models(store: CaptionStore) -> Models:
        light = light_captioner()

        async def caption(request: CaptionRequest) -> CaptionDraft:
            await asyncio.to_thread(_wait, f"to caption {request.image.sha256[:8]}")
            draft = await light.ainvoke(request)
            exclude = () if request.product is None else (request.product,)
            hits = await asyncio.to_thread(store.nearest_pictures, request.image, k=100, exclude_products=exclude)
            near = sorted((-round(hit.score, 4), hit.image) for hit in hits)[:3]
            return CaptionDraft(text=f"{draft.text} Near {near}.", evidence=draft.evidence)

        others = light_models(store)
        return Models(
            captioners=[FunctionCaptioner(caption, name="stepped")], judges=others.judges, predictor=others.predictor
        )

    return Profile(name="stepped", embeddings=HashEmbeddings(), image_embeddings=SteppedPictures(), models=models)
