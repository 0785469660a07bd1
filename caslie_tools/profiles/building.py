"""Builds a profile from its settings: every role on its endpoint, or on a model in this process."""

from functools import partial
from typing import Final

from langchain_core.embeddings import Embeddings

from caslie_tools.backends.endpoints.embeddings import EndpointEmbeddings
from caslie_tools.backends.endpoints.endpoint import Endpoint
from caslie_tools.backends.endpoints.language_model import EndpointLanguageModel
from caslie_tools.backends.endpoints.settings import EndpointEmbeddingsSettings, EndpointSettings
from caslie_tools.backends.transformers.embeddings import TransformersEmbeddings
from caslie_tools.backends.transformers.language_model import TransformersLanguageModel
from caslie_tools.backends.transformers.settings import TransformersEmbeddingsSettings, TransformersSettings
from caslie_tools.profiles.checking import require_served
from caslie_tools.profiles.profile import Profile
from caslie_tools.profiles.settings import (
    AnyCaptionerSettings,
    AnyJudgeSettings,
    AnyPredictorSettings,
    AnyVisionPredictorSettings,
    ProfileSettings,
)
from caslie_tools.roles.captioner import ModelCaptioner
from caslie_tools.roles.interfaces import Judge, Models
from caslie_tools.roles.judge import ModelJudge
from caslie_tools.roles.language_model import LanguageModel
from caslie_tools.roles.predictor import ModelPredictor
from caslie_tools.roles.utility import UTILITY, UtilityJudge
from caslie_tools.roles.vision_predictor import ModelVisionPredictor
from caslie_tools.store import CaptionStore

_IMAGE_TOKEN_SIDE: Final = 28
"""Vision-language models need about one token for each square of this many pixels."""


def build_profile(settings: ProfileSettings) -> Profile:
    """Builds a profile. No server is called and no model is loaded yet.

    Args:
        settings: Which model plays which role, and where it runs.

    Raises:
        MissingExtraError: If an extra that a role's backend needs is not installed.
    """
    predictor = build_predictor(settings.predictor)
    judges: list[Judge] = [build_judge(judge) for judge in settings.judges]
    if settings.utility is not None:
        judges.insert(0, UtilityJudge(predictor, name=UTILITY))
    models = Models(
        captioners=[build_captioner(captioner) for captioner in settings.captioners],
        judges=judges,
        decider=UTILITY if settings.utility == "decides" else None,
        predictor=predictor,
        text_tokens=_text_tokens(settings),
        claim_judge=build_judge(settings.claim_checker) if settings.claim_checker else None,
        claim_threshold=settings.claim_checker.threshold if settings.claim_checker else 0.5,
        vision_predictor=build_vision_predictor(vision) if (vision := settings.vision_predictor) else None,
    )

    def for_store(store: CaptionStore) -> Models:
        return models

    if settings.embeddings == "embedded":
        from caslie_tools.profiles.embedded import embedded_profile

        embedded = embedded_profile()
        embeddings, image_embeddings = embedded.embeddings, embedded.image_embeddings
    else:
        embeddings, image_embeddings = build_embeddings(settings.embeddings), None
    return Profile(
        name=settings.name,
        embeddings=embeddings,
        image_embeddings=image_embeddings,
        models=for_store,
        check=partial(require_served, settings),
        pipeline=settings.pipeline,
        gate=settings.gate,
        text_first=settings.text_first,
        notes=settings.notes,
    )


def _text_tokens(settings: ProfileSettings) -> int:
    """Returns how many tokens of text every captioner and judge takes beside the image and the response."""
    room = [
        captioner.context_length - captioner.max_tokens - (captioner.max_side // _IMAGE_TOKEN_SIDE) ** 2
        for captioner in settings.captioners
    ]
    room += [judge.context_length for judge in settings.judges if not judge.sees_image]
    return min(room)


def build_captioner(settings: AnyCaptionerSettings) -> ModelCaptioner:
    """Builds a captioner. Its name is its model's name, with the revision of a model in this process.

    Raises:
        MissingExtraError: If the extra that the backend needs is not installed; so do the other functions.
    """
    return ModelCaptioner(
        _language_model(settings),
        max_side=settings.max_side,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
    )


def build_judge(settings: AnyJudgeSettings) -> ModelJudge:
    """Builds a judge."""
    return ModelJudge(
        _language_model(settings),
        name=settings.name,
        sees_image=settings.sees_image,
        max_side=settings.max_side,
        system=settings.system,
    )


def build_predictor(settings: AnyPredictorSettings) -> ModelPredictor:
    """Builds a predictor. Its name is its model's name, with the revision of a model in this process."""
    return ModelPredictor(
        _language_model(settings),
        layout=settings.layout if settings.prompt == "completion" else None,
        decoding=settings.decoding,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
    )


def build_vision_predictor(settings: AnyVisionPredictorSettings) -> ModelVisionPredictor:
    """Builds a vision predictor. Its name is its model's name, with the revision of a model in this process."""
    return ModelVisionPredictor(
        _language_model(settings),
        max_side=settings.max_side,
        max_images=settings.max_images,
        max_tokens=settings.max_tokens,
    )


def build_embeddings(settings: EndpointEmbeddingsSettings | TransformersEmbeddingsSettings) -> Embeddings:
    """Builds embeddings."""
    if isinstance(settings, EndpointEmbeddingsSettings):
        return EndpointEmbeddings(settings)
    return TransformersEmbeddings(settings)


def _language_model(settings: EndpointSettings | TransformersSettings) -> LanguageModel:
    if isinstance(settings, EndpointSettings):
        return EndpointLanguageModel(Endpoint(settings))
    return TransformersLanguageModel(settings)
