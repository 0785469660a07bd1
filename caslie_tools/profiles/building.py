"""A profile out of its settings: every role on its endpoint, or on a model in this process."""

from functools import partial

from caslie_tools.backends.endpoints.roles import (
    EndpointCaptioner,
    EndpointEmbeddings,
    EndpointJudge,
    EndpointPredictor,
)
from caslie_tools.backends.endpoints.settings import EmbeddingsSettings
from caslie_tools.backends.transformers.embeddings import LocalEmbeddings
from caslie_tools.backends.transformers.roles import LocalCaptioner, LocalJudge, LocalPredictor
from caslie_tools.backends.transformers.settings import (
    LocalCaptionerSettings,
    LocalJudgeSettings,
    LocalPredictorSettings,
)
from caslie_tools.profiles.checking import require_served
from caslie_tools.profiles.profile import Profile
from caslie_tools.profiles.settings import AnyCaptionerSettings, AnyJudgeSettings, AnyPredictorSettings, ProfileSettings
from caslie_tools.roles.interfaces import Models
from caslie_tools.roles.prompted import PromptedCaptioner, PromptedJudge, PromptedPredictor
from caslie_tools.store import CaptionStore


def endpoint_profile(settings: ProfileSettings) -> Profile:
    """Builds the profile. No endpoint is called yet, and no model is loaded.

    Args:
        settings: Which model takes which role, and where it runs.

    Raises:
        MissingExtraError: If the client, or what models in this process need, is not installed.
    """
    models = Models(
        captioners=[_captioner(captioner) for captioner in settings.captioners],
        judges=[_judge(judge) for judge in settings.judges],
        predictor=_predictor(settings.predictor),
    )

    def for_store(store: CaptionStore) -> Models:
        return models

    if settings.embeddings == "embedded":
        from caslie_tools.profiles.embedded import embedded_profile

        embedded = embedded_profile()
        embeddings, pictures = embedded.embeddings, embedded.pictures
    elif isinstance(settings.embeddings, EmbeddingsSettings):
        embeddings, pictures = EndpointEmbeddings(settings.embeddings), None
    else:
        embeddings, pictures = LocalEmbeddings(settings.embeddings), None
    return Profile(
        name=settings.name,
        embeddings=embeddings,
        pictures=pictures,
        models=for_store,
        check=partial(require_served, settings),
        pipeline=settings.pipeline,
        gate=settings.gate,
        notes=settings.notes,
    )


def _captioner(settings: AnyCaptionerSettings) -> PromptedCaptioner:
    return LocalCaptioner(settings) if isinstance(settings, LocalCaptionerSettings) else EndpointCaptioner(settings)


def _judge(settings: AnyJudgeSettings) -> PromptedJudge:
    return LocalJudge(settings) if isinstance(settings, LocalJudgeSettings) else EndpointJudge(settings)


def _predictor(settings: AnyPredictorSettings) -> PromptedPredictor:
    return LocalPredictor(settings) if isinstance(settings, LocalPredictorSettings) else EndpointPredictor(settings)
