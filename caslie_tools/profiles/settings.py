"""The validated settings of a profile: which model takes which role, and where it runs.

:mod:`caslie_tools.profiles.toml` reads them from TOML and the environment.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
    EndpointSettings,
)
from caslie_tools.backends.transformers.settings import (
    TransformersCaptionerSettings,
    TransformersEmbeddingsSettings,
    TransformersJudgeSettings,
    TransformersPredictorSettings,
    TransformersSettings,
)
from caslie_tools.domain import FrozenModel
from caslie_tools.settings import PipelineDefaults


def _in_order(roles: object) -> object:
    """Turns ``{"0": ..., "1": ...}``, which is how an environment spells a list, into a list."""
    if isinstance(roles, Mapping):
        numbers = [str(number) for number in range(len(roles))]
        if set(roles) != set(numbers):
            raise ValueError("number the entries from 0, without gaps")
        return tuple(roles[number] for number in numbers)
    return roles


SERVED: Final = "endpoint"
IN_PROCESS: Final = "transformers"
_EMBEDDED: Final = "embedded"
_Kind = TypeVar("_Kind", EndpointSettings, TransformersSettings)


def _backend(role: object) -> str | None:
    """What kind of settings these are, written down or made already."""
    if isinstance(role, Mapping):
        said = role.get("backend", SERVED)
        return said if isinstance(said, str) else None
    return _EMBEDDED if role == _EMBEDDED else getattr(role, "backend", None)


_ByBackend = Discriminator(
    _backend,
    custom_error_type="backend",
    custom_error_message=f"backend is {SERVED!r}, for a model on a server, or {IN_PROCESS!r}, for one in this process",
)
AnyCaptionerSettings: TypeAlias = Annotated[
    Annotated[EndpointCaptionerSettings, Tag(SERVED)] | Annotated[TransformersCaptionerSettings, Tag(IN_PROCESS)],
    _ByBackend,
]
AnyJudgeSettings: TypeAlias = Annotated[
    Annotated[EndpointJudgeSettings, Tag(SERVED)] | Annotated[TransformersJudgeSettings, Tag(IN_PROCESS)], _ByBackend
]
AnyPredictorSettings: TypeAlias = Annotated[
    Annotated[EndpointPredictorSettings, Tag(SERVED)] | Annotated[TransformersPredictorSettings, Tag(IN_PROCESS)],
    _ByBackend,
]
AnyEmbeddingsSettings: TypeAlias = Annotated[
    Annotated[EndpointEmbeddingsSettings, Tag(SERVED)]
    | Annotated[TransformersEmbeddingsSettings, Tag(IN_PROCESS)]
    | Annotated[Literal["embedded"], Tag(_EMBEDDED)],
    _ByBackend,
]


def _told_apart(judges: tuple[AnyJudgeSettings, ...]) -> tuple[AnyJudgeSettings, ...]:
    names = [judge.name for judge in judges]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two judges are named {name!r}; give each its own name")
    return judges


class ProfileSettings(FrozenModel):
    """Which model takes which role, and where it runs."""

    name: str = Field(min_length=1)
    description: str = ""
    captioners: Annotated[tuple[AnyCaptionerSettings, ...], BeforeValidator(_in_order), Field(min_length=1)]
    """In order of preference: the next one is tried when one fails."""
    judges: Annotated[
        tuple[AnyJudgeSettings, ...], BeforeValidator(_in_order), AfterValidator(_told_apart), Field(min_length=1)
    ]
    """The jury, in the order it is asked."""
    predictor: AnyPredictorSettings
    embeddings: AnyEmbeddingsSettings = "embedded"
    """``embedded``: the small ones of the extra of that name."""
    pipeline: PipelineDefaults = Field(default_factory=PipelineDefaults)
    """Settings that suit these models, for users who set none."""
    gate: Path | None = None
    """A gate tuned for these judges; in a file, relative to it."""
    vllm: str = ">=0.12"
    """The versions of vLLM that serve these models, as a version specifier (PEP 440)."""
    notes: tuple[str, ...] = ()
    """What a user should know of these models, such as their limits."""

    @property
    def served_roles(self) -> dict[str, EndpointSettings]:
        """Every role on a server, by a name for messages: ``captioner``, ``judge 1`` ... ``predictor``."""
        return self._roles(EndpointSettings)

    @property
    def in_process_roles(self) -> dict[str, TransformersSettings]:
        """Every role whose model runs in this process, likewise; the embedded embeddings are none of them."""
        return self._roles(TransformersSettings)

    def _roles(self, kind: type[_Kind]) -> dict[str, _Kind]:
        every: dict[str, object] = _numbered("captioner", self.captioners) | _numbered("judge", self.judges)
        every |= {"predictor": self.predictor, "embeddings": self.embeddings}
        return {name: settings for name, settings in every.items() if isinstance(settings, kind)}


def _numbered(role: str, settings: tuple[object, ...]) -> dict[str, object]:
    if len(settings) == 1:
        return {role: settings[0]}
    return {f"{role} {number}": one for number, one in enumerate(settings, start=1)}
