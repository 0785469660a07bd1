"""UniM3's predictor on any language model."""

import re
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import AsyncRunnable
from caslie_tools.domain import Answer
from caslie_tools.exceptions import InputError
from caslie_tools.roles.langchain_models import AnyModel, ChatLanguageModel, CompletionLanguageModel, as_language_model
from caslie_tools.roles.language_model import Prompt
from caslie_tools.roles.prompts import NOT_ANSWERABLE, prediction_prompt, question_prompt
from caslie_tools.roles.settings import Decoding
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.tasks.evidence import evidence
from caslie_tools.tasks.layouts import Layout, render

_CITATION: Final = re.compile(r"\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]")
_CITATION_IN_TEXT: Final = re.compile(rf"\S*\s?{_CITATION.pattern}")
"""What looks like a citation in the text of a product, with the word before it."""
_SENTENCE_END: Final = re.compile(r"[.!?:;\n]")


class ModelPredictor(AsyncRunnable[FusedInstance, Answer]):
    """Answers a fused instance with a tuned CASLIE model or with any instruct model (paper, section on uniM3).

    By default, a task with a closed set of answers gets the most likely one, with the probability of each answer if the
    model reports them: the same instance always gets the same answer. An open question gets generated text. The
    response is used whole: it is not cut at a marker, because product text could contain the marker.

    Args:
        model: A LangChain model or another language model.
        layout: The layout that the model was tuned on: the prompt is raw text in it, for the model to continue.
            ``None`` sends a message with instructions instead, as any instruct model takes it; a LangChain LLM,
            which takes no messages, then gets the layout ``alpaca``.
        name: The predictor's name in traces; by default the model's name.
        decoding: ``sampled`` generates text for a task with a closed set of answers too, as the reference does. Text
            that is none of the answers is an invalid answer.
        max_tokens: Most tokens of generated text. LangChain models use their own decoding settings.
        temperature: Sampling temperature of generated text. The defaults are the paper's (implementation details).
        top_p: Probability mass to sample from.

    Raises:
        InputError: If a layout is given for a LangChain chat model, which cannot continue raw text.
    """

    def __init__(
        self,
        model: AnyModel,
        *,
        layout: Layout | None = None,
        name: str | None = None,
        decoding: Decoding = "constrained",
        max_tokens: int = 100,
        temperature: float = 0.15,
        top_p: float = 0.95,
    ) -> None:
        self.model = as_language_model(model)
        self.name = name or self.model.name
        if layout is not None and isinstance(self.model, ChatLanguageModel):
            raise InputError(
                f"the chat model {self.model.name} cannot continue raw text in the layout {layout!r}; "
                "leave the layout out, or use an LLM"
            )
        if layout is None and isinstance(self.model, CompletionLanguageModel):
            layout = "alpaca"
        self.layout: Layout | None = layout
        self.decoding: Decoding = decoding
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.top_p = top_p

    @property
    def reports_probabilities(self) -> bool:
        """Whether an answer can have the probability of each label."""
        return self.decoding == "constrained" and self.model.reports_probabilities

    async def ainvoke(self, input: FusedInstance, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        """Answers one instance."""
        labels = get_task(input.task).labels(input)
        prompt = self._prompt(input, labels)
        if labels and self.decoding == "constrained":
            choice = await self.model.choose(prompt, labels, config=config)
            probabilities = dict(choice.probabilities) if choice.probabilities else None
            return Answer(text=choice.text, probabilities=probabilities)
        text = await self.model.write(
            prompt, max_tokens=self.max_tokens, temperature=self.temperature, top_p=self.top_p, config=config
        )
        return Answer(text=text.strip()) if labels else read_open_answer(text.strip(), input)

    def _prompt(self, instance: FusedInstance, labels: tuple[str, ...]) -> Prompt:
        if self.layout is not None:
            return Prompt(text=render(instance, self.layout), raw=True)
        return Prompt(text=prediction_prompt(instance, labels) if labels else question_prompt(instance))


def read_open_answer(text: str, instance: FusedInstance) -> Answer:
    """Reads the response to :func:`~caslie_tools.roles.prompts.question_prompt`.

    Numbers in square brackets cite the evidence. Numbers for which there is no evidence are ignored. Text of a product
    is no signal: neither a name such as "Not answerable lamp" nor one such as "Lamp [2]".
    """
    if any(_bare(sentence) == NOT_ANSWERABLE for sentence in _SENTENCE_END.split(text)):
        return Answer(text="The products' texts and images do not answer this.", answerable=False)
    sources = evidence(instance)
    own = text
    for quoted in {match[0] for source in sources for match in _CITATION_IN_TEXT.finditer(source.quote)}:
        own = own.replace(quoted, "")
    numbers = dict.fromkeys(int(number) for group in _CITATION.findall(own) for number in group.split(","))
    cited = tuple(sources[number - 1] for number in numbers if 1 <= number <= len(sources))
    return Answer(text=text, citations=cited, answerable=bool(text))


def _bare(sentence: str) -> str:
    """Returns the words of a sentence in capital letters, without marks around them."""
    return " ".join(re.findall(r"\w+", sentence)).upper()
