"""A model in this process as a language model for the roles."""

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from caslie_tools.backends.transformers.loading import LoadedModel, require_extra
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.backends.transformers.worker import shared_worker
from caslie_tools.exceptions import ModelError
from caslie_tools.roles.choices import choice_probabilities, choice_starts, exact_choice_starts, sum_by_text
from caslie_tools.roles.language_model import Choice, LanguageModel, Prompt


class TransformersLanguageModel(LanguageModel):
    """A model of text, or of text and images, in this process.

    It is loaded at the first call. Roles with equal model, revision, device and dtype share one loaded model.

    Args:
        settings: Which model, and where it is loaded.

    Raises:
        MissingExtraError: If torch or transformers are not installed.
    """

    settings: TransformersSettings

    def __init__(self, settings: TransformersSettings) -> None:
        require_extra(f"Running {settings.model} in this process")
        self.settings = settings
        self.name = settings.identity
        self.worker = shared_worker(settings)
        self._starts: dict[tuple[bool, tuple[str, ...]], dict[int, str]] = {}

    async def write(
        self,
        prompt: Prompt,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float = 1.0,
        config: RunnableConfig | None = None,
    ) -> str:
        """Returns the text that the model generates.

        Raises:
            ModelError: If the model cannot be loaded, cannot take the prompt, or fails.
        """
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}

        def work(loaded: LoadedModel, stop: threading.Event) -> str:
            inputs = self._inputs(loaded, prompt, max_tokens)

            def stopped(ids: Any, *_: Any, **__: Any) -> Any:
                return loaded.torch.full((ids.shape[0],), stop.is_set(), dtype=loaded.torch.bool, device=ids.device)

            with loaded.torch.inference_mode():
                ids = loaded.model.generate(
                    **inputs, **sampling, **_padding(loaded), max_new_tokens=max_tokens, stopping_criteria=[stopped]
                )
            text: str = loaded.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            return text

        return await self.worker.run(work)

    async def choose(self, prompt: Prompt, choices: Sequence[str], *, config: RunnableConfig | None = None) -> Choice:
        """Returns the most likely of a closed set of answers and the probability of each, from one forward pass.

        Raises:
            ModelError: If the model cannot be loaded, cannot take the prompt, or fails.
        """

        def work(loaded: LoadedModel, stop: threading.Event) -> Choice:
            inputs = self._inputs(loaded, prompt, 1)
            with loaded.torch.inference_mode():
                generated = loaded.model.generate(
                    **inputs,
                    **_padding(loaded),
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    max_new_tokens=1,
                    output_logits=True,
                    return_dict_in_generate=True,
                )
                logprobs = loaded.torch.log_softmax(generated.logits[0][0].float(), dim=-1)
            starts = self._starts_of(loaded, tuple(choices), exact=prompt.raw)
            listed = logprobs[list(starts)].tolist()
            probabilities = choice_probabilities(choices, sum_by_text(starts.values(), listed))
            if probabilities is None:
                raise ModelError(
                    f"the model {self.name} cannot choose among {', '.join(choices)}: none of its tokens begins one of "
                    "them, or its numbers overflow; set its dtype to float32, or use another model"
                )
            if prompt.raw:  # as on a server, which constrains the model to exactly the answers it was tuned on
                return Choice(text=max(zip(listed, starts.values(), strict=True))[1], probabilities=probabilities)
            return Choice(text=max(choices, key=lambda choice: probabilities[choice]), probabilities=probabilities)

        return await self.worker.run(work)

    def _starts_of(self, loaded: LoadedModel, choices: tuple[str, ...], *, exact: bool) -> dict[int, str]:
        """Maps every token id that a choice can begin with to the token's text, or with ``exact`` to the choice."""
        key = (exact, choices)
        if key not in self._starts:
            find = exact_choice_starts if exact else choice_starts
            self._starts[key] = find(loaded.tokenizer.get_vocab(), choices)
        return self._starts[key]

    def _inputs(self, loaded: LoadedModel, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        if prompt.images and loaded.processor is None:
            raise ModelError(f"the model {self.name} takes no images; give the role a vision-language model")
        if prompt.raw:
            inputs = loaded.tokenizer(prompt.text, return_tensors="pt")  # the tokenizer adds its BOS token, once
        elif loaded.processor is None:
            inputs = self._text_message(loaded, prompt)
        else:
            inputs = self._message(loaded, prompt)
        if loaded.processor is None or prompt.raw:  # some tokenizers add inputs that no causal model takes
            inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        length = inputs["input_ids"].shape[1]
        longest = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", math.inf)
        limit = min(self.settings.context_length, longest)
        if length + max_tokens > limit:
            raise ModelError(
                f"the model {self.name} cannot take a prompt of {length} tokens and generate {max_tokens}: its limit "
                f"is {limit} in all; raise the role's context_length if the model allows it, or shorten the prompt"
            )
        return {name: _on_device(loaded.model, value) for name, value in inputs.items()}

    def _text_message(self, loaded: LoadedModel, prompt: Prompt) -> Any:
        self._require_chat_template(loaded.tokenizer)
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        return loaded.tokenizer.apply_chat_template(
            [*system, {"role": "user", "content": prompt.text}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            enable_thinking=False,  # the first token has to be the answer, not the start of a chain of thought
        )

    def _message(self, loaded: LoadedModel, prompt: Prompt) -> Any:
        processor = loaded.processor
        self._require_chat_template(processor)
        content = [{"type": "text", "text": prompt.text}]
        system = [{"role": "system", "content": [{"type": "text", "text": prompt.system}]}] if prompt.system else []
        arguments: dict[str, Any] = {}
        if prompt.images:
            images = [image.reduced(prompt.max_side) for image in prompt.images]
            content = [*({"type": "image"} for _ in images), *content]
            arguments = {"images": images, **_without_enlarging(processor, images)}
        messages = [*system, {"role": "user", "content": content}]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        if (bos := loaded.tokenizer.bos_token) and text.startswith(bos):
            arguments["add_special_tokens"] = False  # the processor would add a second BOS token
        return processor(text=[text], return_tensors="pt", **arguments)

    def _require_chat_template(self, template_holder: Any) -> None:
        if not template_holder.chat_template:
            raise ModelError(
                f"the model {self.name} has no chat template, so it cannot be sent messages; use an instruct "
                'model, or, for a tuned predictor, set prompt = "completion"'
            )


def _padding(loaded: LoadedModel) -> Mapping[str, Any]:
    padding = loaded.model.generation_config.pad_token_id
    return {} if padding is not None else {"pad_token_id": loaded.tokenizer.eos_token_id}


def _on_device(model: Any, value: Any) -> Any:
    return value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)


def _without_enlarging(processor: Any, images: Sequence[Any]) -> dict[str, Any]:
    """Returns arguments for a processor that enlarges every image to one size.

    The processors of Idefics3 and SmolVLM do so, and then cut the image into tiles: this costs time and adds no detail.
    Their size has only the longest side.
    """
    size = {name: value for name, value in dict(processor.image_processor.size or {}).items() if value is not None}
    if size.keys() != {"longest_edge"}:
        return {}
    largest = max(side for image in images for side in image.size)
    return {"images_kwargs": {"size": {"longest_edge": min(size["longest_edge"], largest)}}}
