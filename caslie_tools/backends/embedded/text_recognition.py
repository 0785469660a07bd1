"""Text recognition in images: PP-OCR (Du et al., 2020) through RapidOCR, whose wheel contains the models."""

import logging
import re
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caslie_tools.backends.embedded.onnx_models import THREADS
from caslie_tools.backends.embedded.packaged_models import require
from caslie_tools.domain import FrozenModel, Probability

_PURPOSE: Final = "Reading text in images"
_MIN_SCORE: Final = 0.75
_MAX_SIDE: Final = 1600
_MAX_ASPECT: Final = 4
_MAX_LINES: Final = 24
_MAX_CHARACTERS: Final = 80
_LETTERS: Final = re.compile(r"[A-Za-zÀ-ɏ]")


class PrintedText(FrozenModel):
    """Text in an image: one line, or several lines printed closely below each other."""

    text: str
    """At most 80 characters, without control characters."""
    score: Probability
    """Confidence of the recogniser, averaged over the lines."""
    height: float
    """Mean height of a line, relative to the height of the image."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    text: str
    score: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def continues(self, above: "_Line") -> bool:
        """Whether this line is closely below another line of similar size."""
        gap = self.top - above.bottom
        similar = 0.5 < self.height / max(above.height, 1e-6) < 2
        overlap = min(self.right, above.right) - max(self.left, above.left)
        narrower = min(self.right - self.left, above.right - above.left)
        return similar and -0.5 < gap / max(above.height, 1e-6) < 1 and overlap > 0.5 * narrower


class TextReader:
    """Reads the text in images.

    The models are loaded at the first use. Several threads may use one reader.

    Args:
        min_score: Minimum confidence of a line. Lines with a lower confidence are dropped.

    Raises:
        MissingExtraError: At the first use, if the packages are not installed.
    """

    def __init__(self, *, min_score: float = _MIN_SCORE) -> None:
        self.min_score = min_score
        self._lock = threading.Lock()
        self._engine: Any = None

    @property
    def identity(self) -> str:
        """Identifies the recogniser and the minimum confidence."""
        return f"rapidocr-{require('importlib.metadata', _PURPOSE).version('rapidocr')}-{self.min_score}"

    def read(self, image: Image.Image) -> tuple[PrintedText, ...]:
        """Returns the text in an image, from top to bottom."""
        if max(image.size) > _MAX_SIDE:
            image = image.copy()
            image.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.LANCZOS)
        height = image.height
        image = _widened(image)
        pixels: NDArray[np.uint8] = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])  # BGR, as OpenCV expects
        with self._lock:
            output = self._model()(pixels)
        if output.txts is None:
            return ()
        lines = []
        for text, score, box in zip(output.txts, output.scores, output.boxes, strict=True):
            if score >= self.min_score and (normalised := normalise_line(text)):
                (left, top), (right, bottom) = np.min(box, axis=0), np.max(box, axis=0)
                lines.append(_Line(text=normalised, score=float(score), left=left, top=top, right=right, bottom=bottom))
        return _join_lines(lines[:_MAX_LINES], height)

    def load(self) -> None:
        """Loads the models now instead of at the first use."""
        with self._lock:
            self._model()

    def _model(self) -> Any:
        if self._engine is None:
            engine = require("rapidocr", _PURPOSE).RapidOCR(
                params={
                    "Global.log_level": "critical",
                    "EngineConfig.onnxruntime.intra_op_num_threads": THREADS,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            )
            # RapidOCR sets this level for each new engine, and logs a warning for every image without text.
            logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
            self._engine = engine
        return self._engine


def _widened(image: Image.Image) -> Image.Image:
    """Returns an image of which no side is much longer than the other: the rest, right or below, has one colour.

    The detector enlarges the shorter side to hundreds of pixels, and the longer one with it. A strip would become huge.
    """
    least = -(-max(image.size) // _MAX_ASPECT)
    if min(image.size) >= least:
        return image
    widened = Image.new("RGB", (max(image.width, least), max(image.height, least)), image.getpixel((0, 0)))
    widened.paste(image)
    return widened


def normalise_line(text: str) -> str:
    """Returns a recognised line as plain text of at most 80 characters, without control characters.

    The result is empty if the line has fewer than two letters and digits: a round object is easily read as an O.
    """
    text = text.replace("℃", "°C").replace("℉", "°F")
    plain = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    plain = " ".join(plain.split())[:_MAX_CHARACTERS].strip(" -_.,:;'\"|~")
    characters = [letter for letter in plain if letter.isalnum()]
    if len(characters) < 2 or not (_LETTERS.search(plain) or any(letter.isdigit() for letter in plain)):
        return ""
    return plain


def _join_lines(lines: Sequence[_Line], image_height: int) -> tuple[PrintedText, ...]:
    blocks: list[list[_Line]] = []
    for line in lines:
        # All blocks are tried, not only the last one, because lines of two columns alternate.
        for block in blocks:
            length = sum(len(other.text) + 1 for other in block)
            if line.continues(block[-1]) and length + len(line.text) <= _MAX_CHARACTERS:
                block.append(line)
                break
        else:
            blocks.append([line])
    return tuple(
        PrintedText(
            text=" ".join(line.text for line in block),
            score=min(1.0, sum(line.score for line in block) / len(block)),
            height=min(1.0, sum(line.height for line in block) / len(block) / image_height),
        )
        for block in blocks
    )
