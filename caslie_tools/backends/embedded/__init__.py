"""The embedded default: real perception on a laptop, without a GPU, a key or a download (extra ``embedded``).

Text read off the picture, an ImageNet classifier, likeness to the user's own catalogue, colours, and sentence
embeddings; five small judges; a predictor that compares and quotes. It is for trying out, tests and cheap triage.
Importing this loads no model and none of the heavy packages.
"""

from caslie_tools.backends.embedded.captioner import EmbeddedCaptioner
from caslie_tools.backends.embedded.judges import embedded_jury
from caslie_tools.backends.embedded.ocr import TextReader
from caslie_tools.backends.embedded.perception import Perceiver
from caslie_tools.backends.embedded.pictures import EfficientNetPictures
from caslie_tools.backends.embedded.predictor import EmbeddedPredictor
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings

__all__ = [
    "EfficientNetPictures",
    "EmbeddedCaptioner",
    "EmbeddedPredictor",
    "MiniLMEmbeddings",
    "Perceiver",
    "TextReader",
    "embedded_jury",
]
