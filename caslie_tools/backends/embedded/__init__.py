"""Models that run on a laptop without a GPU, an API key or a model hub (extra ``embedded``).

The captioner combines text recognition, an ImageNet classifier, similarity to the user's catalogue and dominant
colours. Five small judges vote on its captions, and a predictor answers by comparing and quoting. These models are for
trying out, for tests and for a cheap first pass. Importing this package loads no model and no large dependency.
"""

from caslie_tools.backends.embedded.captioner import EmbeddedCaptioner
from caslie_tools.backends.embedded.image_analysis import ImageAnalyser
from caslie_tools.backends.embedded.image_classifier import ImageClassifier
from caslie_tools.backends.embedded.judges import embedded_jury
from caslie_tools.backends.embedded.predictor import EmbeddedPredictor
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.backends.embedded.text_recognition import TextReader

__all__ = [
    "EmbeddedCaptioner",
    "EmbeddedPredictor",
    "ImageAnalyser",
    "ImageClassifier",
    "MiniLMEmbeddings",
    "TextReader",
    "embedded_jury",
]
