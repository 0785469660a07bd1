"""The settings: read and validated once, from environment variables with the prefix ``CASLIE_``."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableError

from caslie_tools._text import did_you_mean
from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError
from caslie_tools.images.loading import ImageLimits
from caslie_tools.tasks.instances import WireFormat

_PREFIX: Final = "CASLIE_"
READ_ELSEWHERE: Final = frozenset(
    (
        *("API_KEY", "CAPTIONER", "CAPTIONERS", "CLAIM_CHECKER", "DEFAULTS", "EMBEDDINGS", "HOST", "JUDGES"),
        *("PREDICTOR", "VISION_PREDICTOR"),
        *("CHAT_MODEL", "CHAT_CAPTIONER", "CHAT_JUDGES", "CHAT_PREDICTOR", "CHAT_EMBEDDINGS"),
        *("CHAT_INPUT_PRICE", "CHAT_OUTPUT_PRICE", "TASK_MODULES"),
        *("NO_SERVER", "SERVE_TOKEN"),
    )
)
"""Variables with the prefix ``CASLIE_`` that are not settings: a profile or the command line reads them."""


def _named(folder: object) -> object:
    if isinstance(folder, str) and not folder.strip():
        raise ValueError("the name of the folder is empty")  # otherwise it would be the current folder
    return folder


class PipelineDefaults(FrozenModel):
    """Values of some settings that suit the models of a profile. They apply where the user sets none.

    See the attributes of :class:`Settings` with the same names. ``None`` keeps the default of ``Settings``.
    """

    wire_format: WireFormat | None = None
    quorum: int | None = Field(default=None, ge=1)
    reuse_threshold: float | None = Field(default=None, ge=0, le=1)


class Settings(BaseSettings):
    """The settings of a :class:`~caslie_tools.pipeline.pipeline.Pipeline`.

    The variable ``CASLIE_PROFILE`` sets ``profile``, and so on. ``CASLIE_IMAGES__MAX_BYTES`` sets ``images.max_bytes``.
    """

    # A rejected value may be a secret in the wrong variable: error messages leave it out.
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    profile: str = "embedded"
    """The name of a profile, or your own profile as ``module:function`` or as the path of a ``.toml`` file."""
    store: Annotated[Path, BeforeValidator(_named)] = Path(".caslie/store")
    """The folder of the caption store."""
    wire_format: WireFormat = "corrected"
    """Form of the predictor's text. ``paper``: byte for byte what the published models were tuned on, with a ``null``
    for a rejected caption. ``corrected``: a rejected caption leaves no trace."""
    check_models: bool = True
    """Whether opening a store fails if a model server cannot be reached or does not serve its model."""
    allow_local_paths: bool = True
    """Whether a request may contain paths of images on this machine. ``langgraph dev`` serves a graph that refuses them
    unless this is set explicitly. The images of the catalogue are not affected."""
    store_uploads: bool = False
    """Whether an image that a request brings as bytes is kept beside the store, for 7 days and up to 256 MiB in all, so
    that the state of a graph holds only its key. ``langgraph dev`` serves a graph that does so unless this is set
    explicitly."""
    products_per_question: int = Field(default=4, ge=1, le=50)
    """Number of products that are retrieved for a question that names no product."""
    reuse_threshold: float = Field(default=0.86, ge=0, le=1)
    """Minimum cosine similarity of two contexts at which a caption that was made for one is reused for the other. 1
    reuses a caption only in the exact context it was made for."""
    captions_per_image: int = Field(default=50, ge=1)
    """Captions for questions that are kept of an image. Those that were used longest ago are removed first. The general
    captions, which are made when an image is indexed, do not count."""
    caption_unused_days: int | None = Field(default=180, ge=1)
    """``caslie index`` removes captions for questions that were not used for so many days. None keeps them."""
    max_images: int = Field(default=64, ge=1)
    """Images used for one request. Of a question's images, the others are left out, with a warning. An instance of a
    task with more images is refused. An evaluation has no such limit."""
    max_request_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Maximum size of all images that a request brings as bytes or as data URLs, in bytes."""
    max_parallel_images: int = Field(default=4, ge=1)
    """Images that are loaded and captioned at the same time, over all requests of a pipeline on one event loop."""
    max_parallel_votes: int = Field(default=16, ge=1)
    """Votes that are requested at the same time, over all requests of a pipeline on one event loop."""
    quorum: int | None = Field(default=None, ge=1)
    """Valid votes needed to keep a caption. By default half of the jury, rounded up."""
    early_stop: bool = True
    """Whether judges are skipped when the decision does not depend on their votes any more."""
    gate: Path | None = None
    """A file that ``caslie tune gate`` wrote. The gate replaces the majority vote for the tasks it was tuned for."""
    text_first: Path | None = None
    """A file that ``caslie tune text-first`` wrote. If the answer from text alone is sure enough, no picture is looked
    at."""
    captioner_timeout_seconds: float = Field(default=60.0, gt=0)
    """Time limit of one captioner for one image."""
    judge_timeout_seconds: float = Field(default=30.0, gt=0)
    """Time limit of one judge for one vote."""
    predictor_timeout_seconds: float = Field(default=60.0, gt=0)
    """Time limit of the predictor for one answer."""
    busy_timeout_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """How long a write to the store waits for another process that is writing."""
    images: ImageLimits = ImageLimits()
    """Limits on the size of an image, and the places it may be loaded from."""

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """Reads the settings from the environment.

        Args:
            **overrides: Values by the name of the setting, which take precedence over the environment. ``None`` is
                ignored.

        Raises:
            SettingsError: If a setting is unknown or its value is invalid, also for a variable of the environment that
                starts with ``CASLIE_`` and is unknown.
        """
        cls._refuse_unknown_variables()
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = _PREFIX + "__".join(str(part) for part in first["loc"]).upper()
            if first["type"] == "extra_forbidden":
                raise SettingsError(f"there is no setting {name}{_nearest_setting(name)}") from error
            raise SettingsError(f"the setting {name} cannot be used: {first['msg']}") from error
        except UnreadableError as error:  # for example a group of settings that is not JSON
            raise SettingsError(f"the settings in the environment cannot be read: {error}") from error

    @classmethod
    def _refuse_unknown_variables(cls) -> None:
        known = READ_ELSEWHERE | {name.upper() for name in cls.model_fields}
        for name in map(str.upper, os.environ):
            if name.startswith(_PREFIX) and name.removeprefix(_PREFIX).split("__")[0] not in known:
                raise SettingsError(
                    f"{name} is not a setting{_nearest_setting(name) or '; `caslie info` lists the settings'}"
                )

    def with_defaults(self, **defaults: Any) -> "Settings":
        """Returns these settings with other defaults: values for the settings that nobody set.

        Args:
            **defaults: Values by the name of the setting. ``None`` keeps the setting as it is.
        """
        unset = {
            name: value for name, value in defaults.items() if value is not None and name not in self.model_fields_set
        }
        return self.model_copy(update=unset)


def _nearest_setting(name: str) -> str:
    fields = [*Settings.model_fields, *(f"images__{limit}" for limit in ImageLimits.model_fields)]
    known = [field.upper() for field in [*fields, *READ_ELSEWHERE]]
    return did_you_mean(name.removeprefix(_PREFIX), known, prefix=_PREFIX)
