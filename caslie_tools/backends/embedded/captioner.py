"""EC3 without a vision-language model: a caption that is composed of the results of image analysis."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.backends.embedded.answer_kinds import expected_kinds, is_question, kinds_in
from caslie_tools.backends.embedded.colours import Colour
from caslie_tools.backends.embedded.image_analysis import ImageAnalyser, Tag
from caslie_tools.backends.embedded.quantities import contradicts
from caslie_tools.backends.embedded.resemblance import Resemblance, find_resemblances
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.backends.embedded.text_recognition import PrintedText
from caslie_tools.backends.embedded.words import colour_words, content_words, coverage
from caslie_tools.domain import CaptionDraft, Evidence, EvidenceKind, QueryContext
from caslie_tools.roles.interfaces import CaptionRequest

if TYPE_CHECKING:
    from caslie_tools.store import CaptionStore

MAX_WORDS: Final = 50
"""Maximum number of words in a caption, as in the paper."""
NO_TEXT: Final = "No text seen."
"""The sentence if a question asks for printed text and the image has no text."""

_VERSION: Final = 4
_CERTAIN_TAG: Final = 0.25
_POSSIBLE_TAG: Final = 0.05
_MIN_RESEMBLANCE: Final = 0.05
_MAX_TEXTS: Final = 5
_ONLY_PRINTED: Final = frozenset({"text", "protection", "connector"})
_VISIBLE_WITHOUT_TEXT: Final = frozenset({"colour", "kind"})
_OR: Final = re.compile(r"\bor\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class _Sentence:
    """A candidate sentence of a caption."""

    rank: int
    """Position in the caption. A lower rank comes first."""
    kinds: frozenset[str]
    """The kinds of answers that the sentence contains."""
    render: Callable[[int], str]
    """Returns the sentence in at most this many words, or an empty text if they are too few."""
    evidence: tuple[Evidence, ...] = ()


class EmbeddedCaptioner(AsyncRunnable[CaptionRequest, CaptionDraft]):
    """Captions an image by its text, its classes, similar products of the catalogue, and its colours.

    The caption starts with what the context asks for. If the image shows the kind of answer that a question expects,
    such as a colour or a volume, the caption contains nothing else. Printed text may name the kind of thing too.
    Otherwise, and for a question that offers alternatives, it says everything that it says without a question: an
    answer may be in it. It says "No text seen." only if the question asks for printed text. Similar products are named
    if the product is unknown. A caption has at most 50 words. It quotes recognised text as data.

    Args:
        analyser: Analyses images.
        embeddings: Compares the text in an image with the context.
        store: The user's catalogue. Without a store, no similar products are named.
    """

    def __init__(
        self, analyser: ImageAnalyser, embeddings: MiniLMEmbeddings, store: "CaptionStore | None" = None
    ) -> None:
        self.analyser = analyser
        self.embeddings = embeddings
        self.store = store
        self.name = f"embedded-{_VERSION}+{analyser.identity}"
        self.signals: tuple[str, ...] = get_args(EvidenceKind)

    async def ainvoke(self, input: CaptionRequest, config: RunnableConfig | None = None, **kwargs: Any) -> CaptionDraft:
        """Captions one image in a worker thread."""
        return await asyncio.to_thread(self._caption, input)

    def _caption(self, request: CaptionRequest) -> CaptionDraft:
        context = request.context
        analysis = self.analyser.analyse(request.image)
        expected = _requested_kinds(context.focus)
        product_known = bool(context.known.strip()) and "kind" not in expected
        sentences: list[_Sentence] = []
        if analysis.text:
            sentences.append(_text_sentence(self._by_relevance(analysis.text, context), rank=2))
        elif expected & _ONLY_PRINTED:
            sentences.append(_Sentence(rank=0, kinds=frozenset(), render=_whole(NO_TEXT)))
        if analysis.colours:
            sentences.append(_colour_sentence(analysis.colours, rank=0 if "colour" in expected else 5))
        # The text of a catalogue product describes it better than similar products do.
        if self.store is not None and (request.product is None or not product_known):
            similar = find_resemblances(request.image, self.store, product=request.product)
            if similar and similar[0].score >= _MIN_RESEMBLANCE:
                rank = 1 if expected <= _VISIBLE_WITHOUT_TEXT else 3
                sentences.append(_resemblance_sentence(similar, rank=rank))
        if shown := [tag for tag in analysis.tags if tag.probability >= _POSSIBLE_TAG]:
            sentences.append(_tag_sentence(shown, analysis.tags, rank=4))
        # "Slim or loose?" and "a peach or an orange?" may be about anything: nothing is left out.
        is_open = _OR.search(context.focus) is not None
        answering = [] if is_open else [sentence for sentence in sentences if sentence.kinds & expected]
        return _compose(sorted(answering or sentences, key=lambda sentence: sentence.rank))

    def _by_relevance(self, texts: Sequence[PrintedText], context: QueryContext) -> list[PrintedText]:
        """Sorts the texts of an image by their relevance to the context and by their size."""
        distinct = list({text.text.casefold(): text for text in reversed(texts)}.values())[::-1]
        if not context.focus:
            return sorted(distinct, key=lambda text: -text.height * text.score)
        expected, wanted = _requested_kinds(context.focus), content_words(context.focus)
        cosines = self.embeddings.encode([text.text.lower() for text in distinct]) @ self.embeddings.encode(
            [context.focus]
        )[0].astype(float)

        def relevance(index: int) -> float:
            text = distinct[index].text
            answers = bool(expected & kinds_in(text)) and not contradicts(context.focus, text)
            return float(answers + coverage(wanted, text) + cosines[index] + 0.5 * distinct[index].height)

        return [distinct[index] for index in sorted(range(len(distinct)), key=lambda index: -relevance(index))]


def _requested_kinds(focus: str) -> frozenset[str]:
    """Returns the kinds of answers that a question requests, those of the alternatives that it names included.

    The result is empty for a text that asks nothing, such as a search query: its quantities describe the product.
    """
    if not is_question(focus):
        return frozenset()
    kinds = expected_kinds(focus)
    if colour_words(focus):
        kinds |= {"colour"}
    return kinds or (frozenset({"kind"}) if _OR.search(focus) else frozenset())


def _text_sentence(texts: Sequence[PrintedText], *, rank: int) -> _Sentence:
    texts = texts[:_MAX_TEXTS]

    def render(max_words: int) -> str:
        remaining = max_words - 2  # for "It reads"
        quotes = []
        for text in texts:
            size = len(text.text.split())
            if size > remaining:
                break
            quotes.append(_quoted(text.text))
            remaining -= size
        if not quotes and remaining > 0:
            quotes = [_quoted(" ".join(texts[0].text.split()[:remaining]))]
        return f"It reads {', '.join(quotes)}." if quotes else ""

    evidence = tuple(Evidence(kind="text", text=text.text, score=text.score) for text in texts)
    kinds = frozenset({"text", "kind"}).union(*(kinds_in(text.text) for text in texts))
    return _Sentence(rank=rank, kinds=kinds, render=render, evidence=evidence)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'


def _colour_sentence(colours: Sequence[Colour], *, rank: int) -> _Sentence:
    names = [colour.name for colour in colours]
    others = f", with {' and '.join(names[1:])}" if len(names) > 1 else ""
    evidence = tuple(Evidence(kind="colour", text=colour.name, score=colour.share) for colour in colours)
    return _Sentence(
        rank=rank, kinds=frozenset({"colour"}), render=_whole(f"It is mostly {names[0]}{others}."), evidence=evidence
    )


def _resemblance_sentence(similar: Sequence[Resemblance], *, rank: int) -> _Sentence:
    first = similar[0]
    names = [first.product if first.category == first.product else f"{first.product} ({first.category})"]
    names += [other.category for other in similar[1:4] if other.score >= _MIN_RESEMBLANCE]
    others = f", then {', '.join(names[1:])}" if len(names) > 1 else ""
    evidence = tuple(Evidence(kind="resembles", text=item.category, score=item.score) for item in similar)
    return _Sentence(
        rank=rank, kinds=frozenset({"kind"}), render=_whole(f"It resembles {names[0]}{others}."), evidence=evidence
    )


def _tag_sentence(shown: Sequence[Tag], tags: Sequence[Tag], *, rank: int) -> _Sentence:
    certain = [tag.name for tag in shown if tag.probability >= _CERTAIN_TAG]
    possible = [tag.name for tag in shown[:2]]
    text = f"It shows {' or '.join(certain)}." if certain else f"It may show {' or '.join(possible)}."
    evidence = tuple(Evidence(kind="tag", text=tag.name, score=tag.probability) for tag in tags)
    return _Sentence(rank=rank, kinds=frozenset({"kind"}), render=_whole(text), evidence=evidence)


def _whole(sentence: str) -> Callable[[int], str]:
    """Renders a sentence only if all of its words fit."""
    sentence = " ".join("".join(letter if letter.isprintable() else " " for letter in sentence).split())
    return lambda max_words: sentence if len(sentence.split()) <= max_words else ""


def _compose(sentences: Sequence[_Sentence]) -> CaptionDraft:
    remaining = MAX_WORDS
    rendered: list[str] = []
    evidence: list[Evidence] = []
    for sentence in sentences:
        if text := sentence.render(remaining):
            rendered.append(text)
            evidence += sentence.evidence
            remaining -= len(text.split())
    return CaptionDraft(text=" ".join(rendered), evidence=tuple(evidence))
