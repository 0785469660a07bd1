"""EC3 without a vision-language model: says what bears on the question, out of what perception can tell."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.backends.embedded.colours import Colour
from caslie_tools.backends.embedded.facts import (
    asked_kinds,
    content_words,
    contradicts,
    coverage,
    is_question,
    kinds_in,
)
from caslie_tools.backends.embedded.ocr import PrintedText
from caslie_tools.backends.embedded.perception import Perceiver, Tag
from caslie_tools.backends.embedded.resemblance import Resemblance, resemblances
from caslie_tools.backends.embedded.sentence_embeddings import MiniLMEmbeddings
from caslie_tools.domain import CaptionDraft, Evidence, QueryContext
from caslie_tools.roles.interfaces import CaptionRequest

if TYPE_CHECKING:
    from caslie_tools.store import CaptionStore

MAX_WORDS: Final = 50
"""The paper's bound on a caption."""
NO_TEXT: Final = "No text seen."
"""Said where printed text is asked for and none was read; no guess."""

_VERSION: Final = 1
_SURE_TAG: Final = 0.25
_POSSIBLE_TAG: Final = 0.05
_LEAST_RESEMBLANCE: Final = 0.05
_MOST_TEXTS: Final = 5
_NOT_PRINTED: Final = frozenset({"colour", "kind", "money"})
_SEEN_WHOLE: Final = frozenset({"colour", "kind"})


@dataclass(frozen=True, kw_only=True)
class _Sentence:
    """One thing to say, as far as the words last."""

    rank: int
    """Lower comes first."""
    words: Callable[[int], str]
    """The sentence in at most so many words; empty if they are too few."""
    evidence: tuple[Evidence, ...] = ()


class EmbeddedCaptioner(AsyncRunnable[CaptionRequest, CaptionDraft]):
    """Captions a picture from the text on it, what it shows, what it resembles in the catalogue, and its colours.

    What the context asks for comes first, what cannot help is left out: a question about a colour is answered by the
    colour, one about what is printed by the lines that fit it best, and by "No text seen." where there are none. What
    the picture resembles is told where the product is not known already. At most 50 words; text read off the picture
    is quoted as data.

    Args:
        perceiver: Looks at pictures.
        embeddings: Compares the text on a picture with what the context asks.
        store: The user's catalogue; without one nothing is resembled.
    """

    def __init__(self, perceiver: Perceiver, embeddings: MiniLMEmbeddings, store: "CaptionStore | None" = None) -> None:
        self.perceiver = perceiver
        self.embeddings = embeddings
        self.store = store
        self.name = f"embedded-{_VERSION}+{perceiver.identity}"

    async def ainvoke(
        self,
        input: CaptionRequest,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> CaptionDraft:
        """Captions one picture, off the event loop."""
        return await asyncio.to_thread(self._caption, input)

    def _caption(self, request: CaptionRequest) -> CaptionDraft:
        context = request.context
        seen = self.perceiver.perceive(request.image)
        asked = asked_kinds(context.focus)
        narrow = bool(asked) or is_question(context.focus)
        named = bool(context.known.strip()) and "kind" not in asked
        sentences: list[_Sentence] = []
        if seen.text:
            sentences.append(_read(self._by_relevance(seen.text, context), rank=2))
        elif (asked and not asked <= _NOT_PRINTED) or (narrow and not asked):
            sentences.append(_Sentence(rank=2, words=lambda room: NO_TEXT if room >= 3 else ""))
        if seen.colours and ("colour" in asked or not narrow):
            sentences.append(_coloured(seen.colours, rank=0 if "colour" in asked else 5))
        if not (narrow and named):
            # A product of the catalogue is known by its own text; other pictures say nothing about it.
            if self.store is not None and (request.product is None or not named):
                alike = resemblances(request.image, self.store, product=request.product)
                if alike and alike[0].score >= _LEAST_RESEMBLANCE:
                    sentences.append(_resembling(alike, rank=1 if asked <= _SEEN_WHOLE else 3))
            if shown := [tag for tag in seen.tags if tag.probability >= _POSSIBLE_TAG]:
                sentences.append(_tagged(shown, seen.tags, rank=4))
        return _compose(sorted(sentences, key=lambda sentence: sentence.rank))

    def _by_relevance(self, texts: Sequence[PrintedText], context: QueryContext) -> list[PrintedText]:
        """Orders the texts on a picture by how well they fit the context, then by their size."""
        distinct = list({text.text.casefold(): text for text in reversed(texts)}.values())[::-1]
        if not context.focus:
            return sorted(distinct, key=lambda text: -text.height * text.score)
        asked, wanted = asked_kinds(context.focus), content_words(context.focus)
        near = self.embeddings.encode([text.text.lower() for text in distinct]) @ self.embeddings.encode(
            [context.focus]
        )[0].astype(float)

        def fit(index: int) -> float:
            text = distinct[index].text
            answers = bool(asked & kinds_in(text)) and not contradicts(context.focus, text)
            return float(answers + coverage(wanted, text) + near[index] + 0.5 * distinct[index].height)

        return [distinct[index] for index in sorted(range(len(distinct)), key=lambda index: -fit(index))]


def _read(texts: Sequence[PrintedText], *, rank: int) -> _Sentence:
    texts = texts[:_MOST_TEXTS]

    def words(room: int) -> str:
        room -= 2
        parts = []
        for text in texts:
            size = len(text.text.split())
            if size > room:
                break
            parts.append(_quoted(text.text))
            room -= size
        if not parts and room > 0:
            parts = [_quoted(" ".join(texts[0].text.split()[:room]))]
        return f"It reads {', '.join(parts)}." if parts else ""

    evidence = tuple(Evidence(kind="text", text=text.text, score=text.score) for text in texts)
    return _Sentence(rank=rank, words=words, evidence=evidence)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'


def _coloured(colours: Sequence[Colour], *, rank: int) -> _Sentence:
    names = [colour.name for colour in colours]
    rest = f", with {' and '.join(names[1:])}" if len(names) > 1 else ""
    evidence = tuple(Evidence(kind="colour", text=colour.name, score=colour.share) for colour in colours)
    return _Sentence(rank=rank, words=_whole(f"It is mostly {names[0]}{rest}."), evidence=evidence)


def _resembling(alike: Sequence[Resemblance], *, rank: int) -> _Sentence:
    first = alike[0]
    told = [first.product if first.category == first.product else f"{first.product} ({first.category})"]
    told += [other.category for other in alike[1:4] if other.score >= _LEAST_RESEMBLANCE]
    then = f", then {', '.join(told[1:])}" if len(told) > 1 else ""
    evidence = tuple(Evidence(kind="resembles", text=item.category, score=item.score) for item in alike)
    return _Sentence(rank=rank, words=_whole(f"It resembles {told[0]}{then}."), evidence=evidence)


def _tagged(shown: Sequence[Tag], tags: Sequence[Tag], *, rank: int) -> _Sentence:
    sure = [tag.name for tag in shown if tag.probability >= _SURE_TAG]
    text = f"It shows {' or '.join(sure)}." if sure else f"It may show {' or '.join(tag.name for tag in shown[:2])}."
    evidence = tuple(Evidence(kind="tag", text=tag.name, score=tag.probability) for tag in tags)
    return _Sentence(rank=rank, words=_whole(text), evidence=evidence)


def _whole(sentence: str) -> Callable[[int], str]:
    """A sentence that is said whole or not at all."""
    sentence = " ".join("".join(letter if letter.isprintable() else " " for letter in sentence).split())
    return lambda room: sentence if len(sentence.split()) <= room else ""


def _compose(sentences: Sequence[_Sentence]) -> CaptionDraft:
    room = MAX_WORDS
    said: list[str] = []
    evidence: list[Evidence] = []
    for sentence in sentences:
        if text := sentence.words(room):
            said.append(text)
            evidence += sentence.evidence
            room -= len(text.split())
    return CaptionDraft(text=" ".join(said), evidence=tuple(evidence))
