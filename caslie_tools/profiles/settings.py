"""The validated settings of a profile: which model plays which role, and where it runs.

:mod:`caslie_tools.profiles.toml` reads them from TOML and the environment.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from caslie_tools.backends.endpoints.settings import (
    EndpointCaptionerSettings,
    EndpointClaimCheckerSettings,
    EndpointEmbeddingsSettings,
    EndpointJudgeSettings,
    EndpointPredictorSettings,
    EndpointSettings,
    EndpointVisionPredictorSettings,
)
from caslie_tools.backends.transformers.settings import (
    TransformersCaptionerSettings,
    TransformersClaimCheckerSettings,
    TransformersEmbeddingsSettings,
    TransformersJudgeSettings,
    TransformersPredictorSettings,
    TransformersSettings,
    TransformersVisionPredictorSettings,
)
from caslie_tools.domain import FrozenModel
from caslie_tools.roles.utility import UTILITY
from caslie_tools.settings import PipelineDefaults


def _as_tuple(entries: object) -> object:
    """Converts ``{"0": ..., "1": ...}``, which is a list in the environment, to a tuple."""
    if isinstance(entries, Mapping):
        numbers = [str(number) for number in range(len(entries))]
        if set(entries) != set(numbers):
            raise ValueError("number the entries from 0, without gaps")
        return tuple(entries[number] for number in numbers)
    return entries


SERVED: Final = "endpoint"
IN_PROCESS: Final = "transformers"
_EMBEDDED: Final = "embedded"
_SettingsT = TypeVar("_SettingsT", EndpointSettings, TransformersSettings)


def _backend(role: object) -> str | None:
    """Returns the backend of a role's settings, which may be validated already or still raw."""
    if isinstance(role, Mapping):
        backend = role.get("backend", SERVED)
        return backend if isinstance(backend, str) else None
    return _EMBEDDED if role == _EMBEDDED else getattr(role, "backend", None)


_ByBackend = Discriminator(
    _backend,
    custom_error_type="backend",
    custom_error_message=f"backend is {SERVED!r} (a model on a server) or {IN_PROCESS!r} (a model in this process)",
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
AnyClaimCheckerSettings: TypeAlias = Annotated[
    Annotated[EndpointClaimCheckerSettings, Tag(SERVED)] | Annotated[TransformersClaimCheckerSettings, Tag(IN_PROCESS)],
    _ByBackend,
]
AnyVisionPredictorSettings: TypeAlias = Annotated[
    Annotated[EndpointVisionPredictorSettings, Tag(SERVED)]
    | Annotated[TransformersVisionPredictorSettings, Tag(IN_PROCESS)],
    _ByBackend,
]
AnyEmbeddingsSettings: TypeAlias = Annotated[
    Annotated[EndpointEmbeddingsSettings, Tag(SERVED)]
    | Annotated[TransformersEmbeddingsSettings, Tag(IN_PROCESS)]
    | Annotated[Literal["embedded"], Tag(_EMBEDDED)],
    _ByBackend,
]


def _require_unique_names(judges: tuple[AnyJudgeSettings, ...]) -> tuple[AnyJudgeSettings, ...]:
    names = [judge.name for judge in judges]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two judges are named {name!r}; give each its own name")
    return judges


class ProfileSettings(FrozenModel):
    """Which model plays which role, and where it runs."""

    name: str = Field(min_length=1)
    description: str = ""
    """What the profile is for, and what it needs."""
    captioners: Annotated[tuple[AnyCaptionerSettings, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    """In order of preference: if a captioner fails, the next one is tried."""
    judges: Annotated[
        tuple[AnyJudgeSettings, ...],
        BeforeValidator(_as_tuple),
        AfterValidator(_require_unique_names),
        Field(min_length=1),
    ]
    """The jury, in the order in which the judges are asked."""
    utility: Literal["votes", "decides"] | None = None
    """Adds the judge ``utility``, first in the jury. It measures what a caption does to the predictor's answer, so the
    predictor must report probabilities. ``votes``: one vote of many. ``decides``: it decides alone where the answer is
    a choice. ``None``: no such judge."""
    predictor: AnyPredictorSettings
    claim_checker: AnyClaimCheckerSettings | None = None
    """Checks each claim of a caption against the image, and removes false claims. ``None``: claims are not checked."""
    vision_predictor: AnyVisionPredictorSettings | None = None
    """The baseline of an evaluation that answers from the images themselves (treatment ``pixels``)."""
    embeddings: AnyEmbeddingsSettings = "embedded"
    """``embedded``: the small models of the extra ``embedded``."""
    pipeline: PipelineDefaults = Field(default_factory=PipelineDefaults)
    """Settings that suit these models, for users who set none."""
    gate: Path | None = None
    """A gate tuned for these judges. A path in a file is relative to the file."""
    text_first: Path | None = None
    """Text-first thresholds calibrated for this predictor. A path in a file is relative to the file."""
    vllm: str = ">=0.12"
    """The versions of vLLM that serve these models, as a version specifier (PEP 440)."""
    notes: tuple[str, ...] = ()
    """Facts about these models for users, such as their limits."""

    @model_validator(mode="after")
    def _utility_needs_probabilities(self) -> Self:
        if self.utility is None:
            return self
        if self.predictor.decoding == "sampled":
            raise ValueError(
                f"utility: the predictor {self.predictor.model!r} reports no probabilities with decoding = 'sampled'; "
                "choose another decoding, or remove utility"
            )
        if any(judge.name == UTILITY for judge in self.judges):
            raise ValueError(f"utility: a judge is named {UTILITY!r} already; give it another name")
        return self

    @property
    def served_roles(self) -> dict[str, EndpointSettings]:
        """The roles on servers, by a name for messages: ``captioner``, ``judge 1`` ... ``predictor``."""
        return self._roles(EndpointSettings)

    @property
    def in_process_roles(self) -> dict[str, TransformersSettings]:
        """The roles whose models run in this process, by name, without the embedded embeddings."""
        return self._roles(TransformersSettings)

    def _roles(self, kind: type[_SettingsT]) -> dict[str, _SettingsT]:
        roles: dict[str, object] = _by_name("captioner", self.captioners) | _by_name("judge", self.judges)
        roles |= {"claim checker": self.claim_checker}
        roles |= {"predictor": self.predictor, "vision predictor": self.vision_predictor, "embeddings": self.embeddings}
        return {name: settings for name, settings in roles.items() if isinstance(settings, kind)}


def _by_name(role: str, entries: tuple[object, ...]) -> dict[str, object]:
    if len(entries) == 1:
        return {role: entries[0]}
    return {f"{role} {number}": entry for number, entry in enumerate(entries, start=1)}
