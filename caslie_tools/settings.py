"""Settings: read once from the environment (prefix ``CASLIE_``), validated once, passed on as a value."""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableError

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError
from caslie_tools.images.loading import ImageLimits
from caslie_tools.tasks.fusion import WireFormat


class PipelineDefaults(FrozenModel):
    """Values of some settings that suit the models of a profile. They apply where the user sets none.

    See the attributes of :class:`Settings` with the same names. ``None`` keeps the default of ``Settings``.
    """

    wire_format: WireFormat | None = None
    quorum: int | None = Field(default=None, ge=1)
    reuse_threshold: float | None = Field(default=None, ge=0, le=1)


class Settings(BaseSettings):
    """How a :class:`~caslie_tools.pipeline.pipeline.Pipeline` works.

    ``CASLIE_PROFILE=...`` sets ``profile``, and so on; ``CASLIE_IMAGES__MAX_BYTES=...`` sets ``images.max_bytes``.
    """

    model_config = SettingsConfigDict(env_prefix="CASLIE_", env_nested_delimiter="__", frozen=True, extra="forbid")

    profile: str = "embedded"
    """A profile by name, or ``module:function`` for one of your own."""
    store: Path = Path(".caslie/store")
    """Folder of the caption store."""
    wire_format: WireFormat = "corrected"
    """Form of the fused text. ``paper``: byte for byte what the published models were tuned on, with a ``null`` for a
    rejected caption. ``corrected``: a rejected caption leaves no trace."""
    check_models: bool = True
    """Whether a start asks the model servers if they are there and serve the models, and fails if they do not."""
    allow_local_paths: bool = True
    """Whether a request may name a picture by its path on this machine. A served graph says no unless this is set; the
    catalogue's own pictures are not affected."""
    products_per_question: int = Field(default=4, ge=1, le=50)
    """Candidate products looked at when a question names none."""
    reuse_threshold: float = Field(default=0.86, ge=0, le=1)
    """Least cosine of two contexts at which a caption that was made for one is reused for the other. 1 reuses a caption
    only in the exact context it was made for."""
    max_images: int = Field(default=32, ge=1)
    """Images looked at for one request; the rest is left out, with a warning."""
    max_parallel_images: int = Field(default=4, ge=1)
    """Images under way at once, over all requests of one ``Pipeline`` on one event loop."""
    max_parallel_votes: int = Field(default=16, ge=1)
    """Votes under way at once, likewise."""
    quorum: int | None = Field(default=None, ge=1)
    """Valid votes needed to keep a caption. By default half of the jury, rounded up."""
    early_stop: bool = True
    """Stop asking judges once the verdict is settled."""
    gate: Path | None = None
    """A gate that ``caslie tune gate`` wrote: it decides the tasks it was tuned for, in place of the majority."""
    captioner_timeout_seconds: float = Field(default=60.0, gt=0)
    judge_timeout_seconds: float = Field(default=30.0, gt=0)
    predictor_timeout_seconds: float = Field(default=60.0, gt=0)
    busy_timeout_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """How long a write to the store waits for another writer."""
    images: ImageLimits = ImageLimits()
    """What an image may cost and where it may come from."""

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """Reads the environment; keyword arguments that are not ``None`` win.

        Raises:
            SettingsError: If a setting is unknown or has a value it cannot have.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = "CASLIE_" + "__".join(str(part) for part in first["loc"]).upper()
            raise SettingsError(f"the setting {name} cannot be used: {first['msg']}") from error
        except UnreadableError as error:  # such as a group of settings that is not JSON
            raise SettingsError(f"the settings in the environment cannot be read: {error}") from error

    def with_defaults(self, **defaults: Any) -> "Settings":
        """Returns these settings with other defaults: values for the settings that nobody set.

        Args:
            **defaults: Values by the name of the setting. ``None`` keeps the setting as it is.
        """
        unset = {
            name: value for name, value in defaults.items() if value is not None and name not in self.model_fields_set
        }
        return self.model_copy(update=unset)
