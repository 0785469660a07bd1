"""The profile ``chat``: one vision-capable LangChain chat model in all roles, hosted or local."""

from collections.abc import Callable
from typing import Any, Final

from langchain_core.embeddings import Embeddings
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from caslie_tools._optional import require
from caslie_tools.exceptions import CaslieError, SettingsError
from caslie_tools.images.embeddings import ImageEmbeddings
from caslie_tools.profiles.profile import Profile, TokenPrices
from caslie_tools.roles.captioner import ModelCaptioner
from caslie_tools.roles.interfaces import Models
from caslie_tools.roles.judge import ModelJudge
from caslie_tools.roles.predictor import ModelPredictor
from caslie_tools.store import CaptionStore

_PREFIX: Final = "CASLIE_CHAT_"


class ChatSettings(BaseSettings):
    """Which chat models play which role. ``CASLIE_CHAT_MODEL`` sets ``model``, and so on.

    A model is named as for LangChain's ``init_chat_model``: ``provider:model``, such as ``openai:gpt-5-mini``,
    ``anthropic:claude-haiku-4-5`` or ``ollama:qwen2.5vl``. The provider's own variables hold its key and its address,
    for example ``OPENAI_API_KEY`` and ``OPENAI_BASE_URL``.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, hide_input_in_errors=True)

    model: str = Field(min_length=1)
    """The model of every role that has no model of its own. It must accept images, unless ``captioner`` is set."""
    captioner: str = ""
    """Another model for captions. It also checks whether captions are true to their image."""
    judges: str = ""
    """Other models for the jury, separated by commas."""
    predictor: str = ""
    """Another model for answers. It needs no images."""
    embeddings: str = ""
    """A model for search, as for ``init_embeddings``, such as ``openai:text-embedding-3-small``. By default the one of
    the profile ``embedded``."""
    input_price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of one million tokens that are sent, in any currency. With both prices, an answer shows its cost."""
    output_price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of one million tokens that are received."""


def chat_profile(settings: ChatSettings | None = None) -> Profile:
    """Returns a profile of chat models. No model is called yet.

    The jury consists of one judge per model of ``judges`` that votes on whether the caption helps, and one judge that
    sees the image and votes on whether the caption is true. With two judges, a caption is kept if both say yes.

    Args:
        settings: The models; by default from the environment.

    Raises:
        SettingsError: If no model is set, or LangChain cannot create a model.
        MissingExtraError: If ``langchain`` is not installed, or no embeddings are set and the embedded ones are not.
    """
    chosen = settings or _from_environment()
    created: dict[str, Any] = {}

    def model(name: str) -> Any:
        name = name.strip() or chosen.model
        if name not in created:
            created[name] = _create("langchain.chat_models", "init_chat_model", name)
        return created[name]

    captioner = model(chosen.captioner)
    readers = list(dict.fromkeys(name.strip() for name in (chosen.judges or chosen.model).split(",") if name.strip()))
    judges = [ModelJudge(model(name), name=f"helps ({name})") for name in readers]
    judges.append(ModelJudge(captioner, name=f"true ({chosen.captioner or chosen.model})", sees_image=True))
    models = Models(
        captioners=[ModelCaptioner(captioner)],
        judges=judges,
        predictor=ModelPredictor(model(chosen.predictor)),
    )
    embeddings, image_embeddings = _embeddings(chosen.embeddings)

    def for_store(store: CaptionStore) -> Models:
        return models

    prices = None
    if chosen.input_price is not None and chosen.output_price is not None:
        prices = TokenPrices(input=chosen.input_price, output=chosen.output_price)
    return Profile(
        name="chat",
        embeddings=embeddings,
        image_embeddings=image_embeddings,
        models=for_store,
        prices=prices,
        notes=(
            "The texts of products and, for captions, their images are sent to the models' providers.",
            "The models report no probabilities. Votes and answers are read from their text.",
        ),
    )


def _from_environment() -> ChatSettings:
    try:
        return ChatSettings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = _PREFIX + str(first["loc"][0]).upper()
        hint = ', for example "openai:gpt-5-mini"' if name == f"{_PREFIX}MODEL" else ""
        raise SettingsError(f"the profile 'chat' needs {name}{hint}: {first['msg']}") from error


def _embeddings(name: str) -> tuple[Embeddings, ImageEmbeddings | None]:
    if name.strip():
        embeddings: Embeddings = _create("langchain.embeddings", "init_embeddings", name.strip())
        return embeddings, None
    from caslie_tools.profiles.embedded import embedded_profile

    embedded = embedded_profile()
    return embedded.embeddings, embedded.image_embeddings


def _create(module: str, function: str, name: str) -> Any:
    """Creates a model with one of LangChain's functions. An error shows no value: it may contain a key."""
    create: Callable[[str], Any] = getattr(require(module, "agents", "The profile 'chat'"), function)
    try:
        return create(name)
    except CaslieError:
        raise
    except ValidationError as error:
        problem = str(error.errors(include_url=False, include_input=False)[0]["msg"])
        raise SettingsError(f"the model {name!r} cannot be created: {problem}") from None
    except Exception as error:  # each provider's package has its own errors
        raise SettingsError(f"the model {name!r} cannot be created: {error}") from error
