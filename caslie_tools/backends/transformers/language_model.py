"""One language model in this process, shared by every role it takes."""

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from caslie_tools.backends.transformers.loading import Loaded, load_language_model
from caslie_tools.backends.transformers.settings import LocalSettings
from caslie_tools.backends.transformers.worker import ModelWorker
from caslie_tools.exceptions import ModelError
from caslie_tools.roles.choices import added_by_text, choice_probabilities, choice_starts, exact_choice_starts
from caslie_tools.roles.prompted import Choice, Prompt

_shared: WeakValueDictionary[tuple[str | None, ...], "LanguageModel"] = WeakValueDictionary()
_sharing = threading.Lock()


def shared_model(settings: LocalSettings) -> "LanguageModel":
    """Returns the model that settings name: the same one for all of equal name, revision, device and dtype.

    It is let go when the last role that holds it is.
    """
    key = (settings.model, settings.revision, settings.device, settings.dtype)
    with _sharing:
        model = _shared.get(key)
        if model is None:
            model = _shared[key] = LanguageModel(settings)
        return model


class LanguageModel:
    """A language model, of text or of text and images. Nothing is loaded before the first call."""

    def __init__(self, settings: LocalSettings) -> None:
        self.identity = settings.identity
        self._worker = ModelWorker[Any](settings.identity, lambda: load_language_model(settings))
        self._starts: dict[tuple[bool, tuple[str, ...]], dict[int, str]] = {}

    async def write(
        self, prompt: Prompt, *, max_tokens: int, temperature: float, top_p: float, context_length: int
    ) -> str:
        """Returns what the model writes.

        Args:
            prompt: What it is asked.
            max_tokens: Most tokens to write.
            temperature: 0 takes the likeliest token each time.
            top_p: Samples from the likeliest tokens that hold this much of the probability.
            context_length: Tokens that prompt and answer may take together.

        Raises:
            MissingExtraError: If torch or transformers are not installed.
            ModelError: If the model cannot be loaded, cannot take the prompt, or fails.
        """
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}

        def work(loaded: Loaded, stop: threading.Event) -> str:
            inputs = self._inputs(loaded, prompt, max_tokens, context_length)

            def stopped(ids: Any, *_: Any, **__: Any) -> Any:
                return loaded.torch.full((ids.shape[0],), stop.is_set(), dtype=loaded.torch.bool, device=ids.device)

            with loaded.torch.inference_mode():
                ids = loaded.model.generate(
                    **inputs, **sampling, **_padding(loaded), max_new_tokens=max_tokens, stopping_criteria=[stopped]
                )
            text: str = loaded.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            return text

        return str(await self._worker.run(work))

    async def choose(self, prompt: Prompt, choices: Sequence[str], *, context_length: int) -> Choice:
        """Returns the likeliest of a closed set of answers, and how likely each is, from one pass over the prompt.

        Args:
            prompt: What it is asked.
            choices: The answers, with different first letters.
            context_length: Tokens that prompt and answer may take together.

        Raises:
            MissingExtraError: If torch or transformers are not installed.
            ModelError: If the model cannot be loaded, cannot take the prompt, or fails.
        """

        def work(loaded: Loaded, stop: threading.Event) -> Choice:
            inputs = self._inputs(loaded, prompt, 1, context_length)
            with loaded.torch.inference_mode():
                made = loaded.model.generate(
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
                logprobs = loaded.torch.log_softmax(made.logits[0][0].float(), dim=-1)
            starts = self._starts_of(loaded, tuple(choices), exact=prompt.raw)
            listed = logprobs[list(starts)].tolist()
            chances = choice_probabilities(choices, added_by_text(starts.values(), listed))
            if chances is None:
                raise ModelError(
                    f"the model {self.identity} cannot choose among {', '.join(choices)}: no token of its begins one, "
                    "or its numbers overflow; set its dtype to float32, or take another model"
                )
            if prompt.raw:  # as a server would that is constrained to the very words the model was tuned on
                return Choice(text=max(zip(listed, starts.values(), strict=True))[1], probabilities=chances)
            return Choice(text=max(choices, key=lambda choice: chances[choice]), probabilities=chances)

        choice: Choice = await self._worker.run(work)
        return choice

    def _starts_of(self, loaded: Loaded, choices: tuple[str, ...], *, exact: bool) -> dict[int, str]:
        """Every token that a choice can begin with, by its number: its text; with ``exact`` the choice."""
        key = (exact, choices)
        if key not in self._starts:
            find = exact_choice_starts if exact else choice_starts
            self._starts[key] = find(loaded.tokenizer.get_vocab(), choices)
        return self._starts[key]

    def _inputs(self, loaded: Loaded, prompt: Prompt, max_tokens: int, context_length: int) -> dict[str, Any]:
        if prompt.image is not None and loaded.processor is None:
            raise ModelError(f"the model {self.identity} sees no images; give the role one that does")
        if prompt.raw:
            inputs = loaded.tokenizer(prompt.text, return_tensors="pt")  # the tokenizer puts its own BOS, once
        elif loaded.processor is None:
            inputs = self._text_message(loaded, prompt.text)
        else:
            inputs = self._message(loaded, prompt)
        if loaded.processor is None or prompt.raw:  # some tokenizers add what no causal model takes
            inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        length = inputs["input_ids"].shape[1]
        most = min(context_length, getattr(loaded.model.config.get_text_config(), "max_position_embeddings", math.inf))
        if length + max_tokens > most:
            raise ModelError(
                f"the model {self.identity} cannot take a prompt of {length} tokens and write {max_tokens}: it is "
                f"allowed {most} in all; raise the role's context_length as far as the model goes, or ask less"
            )
        return {name: _placed(loaded.model, value) for name, value in inputs.items()}

    def _text_message(self, loaded: Loaded, text: str) -> Any:
        self._require_chat_template(loaded.tokenizer)
        return loaded.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            enable_thinking=False,  # models that think aloud first are asked not to: the answer comes at once
        )

    def _message(self, loaded: Loaded, prompt: Prompt) -> Any:
        processor = loaded.processor
        self._require_chat_template(processor)
        content = [{"type": "text", "text": prompt.text}]
        given: dict[str, Any] = {}
        if prompt.image is not None:
            image = prompt.image.reduced(prompt.max_side)
            content.insert(0, {"type": "image"})
            given = {"images": [image], **_as_large_as_it_is(processor, image)}
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        if (bos := loaded.tokenizer.bos_token) and text.startswith(bos):
            given["add_special_tokens"] = False  # it would be a second one
        return processor(text=[text], return_tensors="pt", **given)

    def _require_chat_template(self, template_holder: Any) -> None:
        if not template_holder.chat_template:
            raise ModelError(
                f"the model {self.identity} has no chat template, so it cannot be sent messages; take an instruct "
                'model, or, for a tuned predictor, set prompt = "completion"'
            )


def _padding(loaded: Loaded) -> Mapping[str, Any]:
    padding = loaded.model.generation_config.pad_token_id
    return {} if padding is not None else {"pad_token_id": loaded.tokenizer.eos_token_id}


def _placed(model: Any, value: Any) -> Any:
    return value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)


def _as_large_as_it_is(processor: Any, image: Any) -> dict[str, Any]:
    """For a processor that would blow every picture up to one size: dear, and there is no more to see.

    Those of Idefics3 and SmolVLM do, and then cut it into tiles; they know no size but the longest side.
    """
    size = {name: value for name, value in dict(processor.image_processor.size or {}).items() if value is not None}
    if size.keys() != {"longest_edge"}:
        return {}
    return {"images_kwargs": {"size": {"longest_edge": min(size["longest_edge"], max(image.size))}}}
