"""A profile out of its settings: every role on its endpoint."""

from caslie_tools.endpoints.configuration import ProfileSettings
from caslie_tools.endpoints.roles import EndpointCaptioner, EndpointEmbeddings, EndpointJudge, EndpointPredictor
from caslie_tools.images import ImageLoader
from caslie_tools.roles import Models, Profile
from caslie_tools.settings import Settings
from caslie_tools.store import CaptionStore


def endpoint_profile(settings: ProfileSettings) -> Profile:
    """Builds the profile. No endpoint is called yet.

    Args:
        settings: Which model takes which role, and where it is served.

    Raises:
        MissingExtraError: If the client, or the embedded embeddings, are not installed.
    """
    loader = ImageLoader(Settings.load().images)
    models = Models(
        captioners=[EndpointCaptioner(captioner) for captioner in settings.captioners],
        judges=[EndpointJudge(judge, loader) for judge in settings.judges],
        predictor=EndpointPredictor(settings.predictor),
    )

    def for_store(store: CaptionStore) -> Models:
        return models

    if settings.embeddings != "embedded":
        embeddings = EndpointEmbeddings(settings.embeddings)
        return Profile(name=settings.name, embeddings=embeddings, models=for_store, notes=settings.notes)

    from caslie_tools.embedded import embedded_profile

    embedded = embedded_profile()
    return Profile(
        name=settings.name,
        embeddings=embedded.embeddings,
        pictures=embedded.pictures,
        models=for_store,
        notes=settings.notes,
    )
