"""Deterministic stand-ins for models, used all over the tests.

They are real runnables behind the same interfaces as real models: nothing of the package is replaced. Each remembers
what it was asked (``requests``) and how many of its calls were under way at once (``peak``).

``CASLIE_PROFILE=tests.doubles:light_profile`` runs the whole package on them, also in a subprocess.
"""

import csv
import hashlib
import inspect
import io
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import LLM, BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from PIL import Image, ImageDraw, ImageFont, ImageStat, PngImagePlugin
from pydantic import Field

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.domain import Answer, CaptionDraft, Evidence, ImageRef, Product, QueryContext, Verdict, Vote
from caslie_tools.images.loading import ImageLoader, LoadedImage
from caslie_tools.profiles.profile import Profile
from caslie_tools.roles.interfaces import CaptionRequest, JudgeRequest, Models
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION
from caslie_tools.store import CaptionStore
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.answers import option_label
from caslie_tools.tasks.evidence import evidence

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class FunctionRunnable(AsyncRunnable[Asked, Answered]):
    """Answers with what a function, plain or ``async``, returns or raises."""

    def __init__(self, function: Callable[[Asked], Any], *, name: str) -> None:
        self.function = function
        self.name = name
        self.requests: list[Asked] = []
        """What it was asked, in order."""
        self.running = 0
        self.peak = 0
        """Most calls under way at once."""

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return len(self.requests)

    async def ainvoke(
        self,
        input: Asked,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Answered:
        self.requests.append(input)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            answer = self.function(input)
            return self._answer(await answer if inspect.isawaitable(answer) else answer)
        finally:
            self.running -= 1

    def _answer(self, value: Any) -> Answered:
        answer: Answered = value
        return answer


class FunctionCaptioner(FunctionRunnable[CaptionRequest, CaptionDraft]):
    """Captions with a function that returns a draft or its text."""

    def __init__(
        self,
        function: Callable[[CaptionRequest], CaptionDraft | str | Awaitable[CaptionDraft | str]],
        *,
        name: str = "function-captioner",
    ) -> None:
        super().__init__(function, name=name)

    def _answer(self, value: Any) -> CaptionDraft:
        return value if isinstance(value, CaptionDraft) else CaptionDraft(text=value)


class FixedCaptioner(FunctionCaptioner):
    """Says the same of every picture."""

    def __init__(self, text: str, *, evidence: Sequence[Evidence] = (), name: str = "fixed-captioner") -> None:
        super().__init__(lambda request: CaptionDraft(text=text, evidence=tuple(evidence)), name=name)


class FunctionJudge(FunctionRunnable[JudgeRequest, Vote]):
    """Votes with a function that returns a vote or its verdict."""

    def __init__(
        self,
        function: Callable[[JudgeRequest], Vote | Verdict | Awaitable[Vote | Verdict]],
        *,
        name: str = "function-judge",
    ) -> None:
        super().__init__(function, name=name)

    def _answer(self, value: Any) -> Vote:
        return value if isinstance(value, Vote) else Vote(judge=self.name, verdict=value)


class FixedJudge(FunctionJudge):
    """Votes the same on every caption."""

    def __init__(self, verdict: Verdict, *, name: str = "fixed-judge") -> None:
        super().__init__(lambda request: verdict, name=name)


class FunctionPredictor(FunctionRunnable[FusedInstance, Answer]):
    """Answers with a function that returns an answer or its text."""

    def __init__(
        self,
        function: Callable[[FusedInstance], Answer | str | Awaitable[Answer | str]],
        *,
        name: str = "function-predictor",
    ) -> None:
        super().__init__(function, name=name)

    def _answer(self, value: Any) -> Answer:
        return value if isinstance(value, Answer) else Answer(text=value)


def jury(*verdicts: Verdict) -> list[FixedJudge]:
    """Returns one judge per verdict, named ``judge-1`` and so on."""
    return [FixedJudge(verdict, name=f"judge-{number}") for number, verdict in enumerate(verdicts, start=1)]


def jury_of(count: int, function: Callable[[JudgeRequest], Any]) -> list[FunctionJudge]:
    """Returns so many judges that vote with one function, named ``judge-1`` and so on."""
    return [FunctionJudge(function, name=f"judge-{number}") for number in range(1, count + 1)]


def raising(error: BaseException) -> Callable[[object], NoReturn]:
    """Returns a function that raises: a model that is down."""

    def fail(request: object) -> NoReturn:
        raise error

    return fail


class RecordingChatModel(BaseChatModel):
    """A chat model that answers with the next of its replies (the last one again and again) and keeps what it read."""

    replies: list[str | list[Any]]
    model_name: str = "recording-chat-model"
    seen: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "recording"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply: Any = self.replies[min(len(self.seen), len(self.replies) - 1)]
        self.seen.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=reply))])

    @property
    def texts(self) -> list[str]:
        """The text of every message it read."""
        return [message.text for messages in self.seen for message in messages]


class RecordingLLM(LLM):
    """A completions model that answers with one reply and keeps the prompts."""

    reply: str
    prompts: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "recording"

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        self.prompts.append(prompt)
        return self.reply


_COMMON = frozenset(
    re.findall(
        r"[a-z]+",
        "a an and are as at be by can did do does for from has have how i if in is it its of on one or that the them "
        "there these they this to was what when where which who will with you",
    )
)


def words(text: str) -> frozenset[str]:
    """Returns a text's words in small letters and without a plural's s, leaving out those that say nothing."""
    found = (word for word in re.findall(r"[^\W_]+", text.lower()) if word not in _COMMON)
    return frozenset(word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word for word in found)


def overlap(asked: str, text: str) -> float:
    """Returns the share of the words asked for that a text has, 0 to 1."""
    wanted = words(asked)
    return len(wanted & words(text)) / len(wanted) if wanted else 0.0


class HashEmbeddings(Embeddings):
    """A bag of hashed words of unit length: texts that share words are near, in every process alike.

    Args:
        dimension: Length of the vectors.
        identity: Names the model; another one makes other vectors.
    """

    def __init__(self, dimension: int = 256, *, identity: str = "hash-embeddings") -> None:
        self.dimension = dimension
        self._identity = identity
        self.texts: list[str] = []
        """What was embedded, in order."""

    @property
    def identity(self) -> str:
        return f"{self._identity}-{self.dimension}"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.texts.append(text)
        vector = np.zeros(self.dimension)
        for word in sorted(words(text)) or [""]:
            seed = hashlib.blake2b(f"{self._identity}\n{word}".encode("utf-8", "replace"), digest_size=8).digest()
            vector += np.random.default_rng(int.from_bytes(seed)).standard_normal(self.dimension)
        unit: list[float] = (vector / np.linalg.norm(vector)).tolist()
        return unit


class HashPictures:
    """A coarse colour histogram of unit length (64 numbers): pictures of like colours are near."""

    def __init__(self, *, identity: str = "colour-histogram") -> None:
        self.identity = identity
        self.embedded: list[str] = []
        """SHA-256 of every picture that was embedded, in order."""

    def embed_images(self, images: Sequence[LoadedImage]) -> list[list[float]]:
        self.embedded += [image.sha256 for image in images]
        return [self._embed(image) for image in images]

    @staticmethod
    def _embed(image: LoadedImage) -> list[float]:
        levels = np.asarray(image.rgb().resize((32, 32))).reshape(-1, 3) // 64
        histogram = np.bincount(levels @ np.array([16, 4, 1]), minlength=64).astype(float)
        unit: list[float] = (histogram / np.linalg.norm(histogram)).tolist()
        return unit


COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (210, 30, 30),
    "green": (30, 150, 50),
    "blue": (30, 60, 200),
    "yellow": (240, 220, 40),
    "orange": (240, 140, 20),
}
"""The colours that pictures are drawn in and named after."""


def draw_picture(
    text: str = "", colour: str = "white", *, size: tuple[int, int] = (160, 120), kind: str = "PNG"
) -> bytes:
    """Draws a label on a ground of one colour.

    A PNG also carries the text as metadata, which is where the light captioner reads it: nobody has to recognise
    letters in a test.
    """
    picture = Image.new("RGB", size, COLOURS[colour])
    ink = "black" if sum(COLOURS[colour]) > 300 else "white"
    ImageDraw.Draw(picture).text((8, 8), text, fill=ink, font=ImageFont.load_default())
    label = PngImagePlugin.PngInfo()
    label.add_itxt("label", text)
    encoded = io.BytesIO()
    picture.save(encoded, kind, **({"pnginfo": label} if kind == "PNG" else {}))
    return encoded.getvalue()


def load_picture(data: bytes) -> LoadedImage:
    """Returns a picture as the package loads it."""
    return ImageLoader().load_sync(ImageRef(data=data))


def caption_request(
    picture: bytes | LoadedImage | None = None,
    *,
    focus: str = "Which colour is it?",
    known: str = "Mug",
    product: str | None = None,
) -> CaptionRequest:
    """Returns a request for a caption, of a red mug unless told otherwise."""
    picture = draw_picture("350 ML", "red") if picture is None else picture
    image = load_picture(picture) if isinstance(picture, bytes) else picture
    context = QueryContext(task="product_qa", aim="answering", focus=focus, known=known, question="Does it help?")
    return CaptionRequest(image=image, context=context, product=product)


def judge_request(caption: str = "A red mug.", *, focus: str = "Which colour is it?") -> JudgeRequest:
    """Returns a caption for judges to vote on."""
    return JudgeRequest(context=QueryContext(task="product_qa", focus=focus, question="Does it help?"), caption=caption)


def _light_caption(request: CaptionRequest) -> CaptionDraft:
    mean = ImageStat.Stat(request.image.rgb()).mean
    colour = min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], mean, strict=True)))
    with Image.open(io.BytesIO(request.image.data)) as picture:
        label = str(picture.info.get("label", ""))
    found = [Evidence(kind="colour", text=colour, score=0.9)]
    found += [Evidence(kind="text", text=label, score=0.95)] if label else []
    seen = f"Colour: {colour}." + (f" Label: {label}." if label else "")
    focus = " ".join(sorted(words(request.context.focus)))
    return CaptionDraft(text=f"{seen} (for: {focus})" if focus else seen, evidence=tuple(found))


def _seen(caption: str) -> str:
    """A light caption without the words it was made for, which would agree with any question."""
    return caption.partition(" (for: ")[0]


def _light_judge(least: float) -> FunctionJudge:
    name = f"overlap-{least:g}"

    def vote(request: JudgeRequest) -> Vote:
        share = overlap(request.context.focus, _seen(request.caption))
        return Vote(
            judge=name,
            verdict="yes" if share >= least else "no",
            probability=share,
            reason=f"{share:.0%} of the words asked for",
        )

    return FunctionJudge(vote, name=name)


def _light_open_answer(instance: FusedInstance) -> Answer:
    """Quotes what has the question's words that the product's title does not have: the title repeats, not answers."""
    sources = [(item, words(f"{item.field} {_seen(item.quote)}")) for item in evidence(instance)]
    asked = words(str(instance.input["question"])) if isinstance(instance.input, dict) else frozenset()
    scored = []
    for item, found in sources:
        beside = [(other, text) for other, text in sources if other.product == item.product]
        left = asked.difference(*(text for other, text in beside if other.field == "title"))
        hits = len(left & found) if left else int(item.field == "title")
        if hits:
            fit = len(asked & frozenset().union(*(text for _, text in beside)))
            scored.append(((fit, hits, item.field == "caption"), item))
    if not scored:
        return Answer(text="The products' texts and images do not answer this.", answerable=False)
    best = max(scored, key=lambda pair: pair[0])[1]
    return Answer(text=best.quote, citations=(best,), answerable=True)


def _light_answer(instance: FusedInstance) -> Answer:
    task = get_task(instance.task)
    labels = task.labels(instance)
    if not labels:
        return _light_open_answer(instance)
    values = list(instance.input.values()) if isinstance(instance.input, dict) else instance.input
    if task.answers == "yes_no":
        share = overlap(str(values[0]), " ".join(map(str, values[1:])))
        chance = {"yes": share, "no": 1 - share}
    else:
        text = " ".join(map(str, values))
        scores = {option_label(option) or "": overlap(option[2:], text) + 0.01 for option in instance.options}
        chance = {label: score / sum(scores.values()) for label, score in scores.items()}
    return Answer(text=max(chance, key=lambda label: chance[label]), probabilities=chance)


def light_captioner() -> FunctionCaptioner:
    """Names the ground's colour, the drawn label, and the words it was asked for: a caption for each context."""
    return FunctionCaptioner(_light_caption, name=f"light-captioner/{EC3_PROMPT_VERSION}")


def light_models(store: CaptionStore | None = None) -> Models:
    """Returns the light models: five judges, who ask for different shares of the question's words in the caption.

    With a third of the words the vote is thin, 3 to 2.
    """
    return Models(
        captioners=[light_captioner()],
        judges=[_light_judge(least) for least in (0.1, 0.7, 0.3, 0.5, 0.2)],
        predictor=FunctionPredictor(_light_answer, name="light-predictor"),
    )


def light_profile() -> Profile:
    """A profile that costs nothing. Use as ``CASLIE_PROFILE=tests.doubles:light_profile``."""
    return Profile(
        name="light",
        embeddings=HashEmbeddings(),
        image_embeddings=HashPictures(),
        models=light_models,
        notes=["For tests."],
    )


def blind_profile() -> Profile:
    """The light profile, but its captioner is down. Use as ``CASLIE_PROFILE=tests.doubles:blind_profile``."""

    def models(store: CaptionStore) -> Models:
        light = light_models(store)
        down = FunctionCaptioner(raising(ConnectionError("the endpoint http://10.0.0.1/?key=secret is down")))
        return Models(captioners=[down], judges=light.judges, predictor=light.predictor)

    return Profile(name="blind", embeddings=HashEmbeddings(), image_embeddings=HashPictures(), models=models)


def light_products(folder: Path) -> list[Product]:
    """Draws four products into a folder. Facts that stand on pictures only: every colour and what the labels say."""
    drawn = [
        ("mug", "Stoneware mug", "Kitchen > Mugs", 9.5, "Tonus", ["350 ML"], "red"),
        ("jacket", "Hiking jacket", "Sport > Jackets", 120.0, "Fjell", ["WATERPROOF 10000 MM", "HOOD"], "blue"),
        ("bottle", "Steel bottle", "Kitchen > Bottles", 24.0, "Fjell", ["750 ML"], "green"),
        ("lamp", "Desk lamp", "Home > Lamps", 49.0, "Lumo", [""], "white"),
    ]
    products = []
    for key, title, category, price, brand, labels, colour in drawn:
        paths = [folder / f"{key}-{number}.png" for number, _ in enumerate(labels, start=1)]
        for path, label in zip(paths, labels, strict=True):
            path.write_bytes(draw_picture(label, colour))
        images = tuple(ImageRef(path=path) for path in paths)
        products.append(Product(id=key, title=title, category=category, price=price, brand=brand, images=images))
    return products


def write_catalogue(folder: Path) -> Path:
    """Writes the light products as a CSV catalogue with their pictures beside it; returns its path."""
    path = folder / "catalogue.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "title", "category", "price", "brand", "image"])
        for product in light_products(folder):
            pictures = "|".join(image.label for image in product.images)
            rows.writerow([product.id, product.title, product.category, product.price, product.brand, pictures])
    return path
