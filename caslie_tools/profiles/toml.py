"""Reads a profile of models you host yourself: its TOML file first, then what the environment says otherwise.

A file has a table per role: ``[captioner]`` (or several ``[[captioners]]``), ``[[judges]]``, ``[predictor]`` and, where
texts are not embedded by the small embedded model, ``[embeddings]``; what all roles share stands in ``[defaults]``.
``[pipeline]`` holds settings of the pipeline that suit the models: ``wire_format``, ``quorum``, ``reuse_threshold``.
``backend = "transformers"`` runs a role in this process, without it the role is served. In the environment
``CASLIE_PREDICTOR__MODEL`` sets ``model`` of the predictor, ``CASLIE_JUDGES__0__URLS`` the URLs of the first judge,
``CASLIE_DEFAULTS__TIMEOUT_SECONDS`` what all share, and ``CASLIE_API_KEY`` the key of every role without one of its
own. In any URL ``{host}`` stands for ``CASLIE_HOST``, by default this machine.
"""

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as UnreadableError

from caslie_tools.backends.endpoints.settings import EndpointSettings
from caslie_tools.backends.transformers.settings import TransformersSettings
from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.settings import IN_PROCESS, SERVED, ProfileSettings

_SHIPPED = files("caslie_tools.profiles")
_LISTS = ("captioners", "judges")
# What only one kind of role knows is not shared with the other.
_OTHERS = {
    SERVED: TransformersSettings.model_fields.keys() - EndpointSettings.model_fields.keys(),
    IN_PROCESS: EndpointSettings.model_fields.keys() - TransformersSettings.model_fields.keys(),
}
_KINDS = (SERVED, IN_PROCESS, "embedded")


def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles of self-hosted models that come with the package."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _SHIPPED.iterdir() if file.name.endswith(".toml")))


def load_profile_settings(name_or_path: str | Path) -> ProfileSettings:
    """Reads a profile by the name of a shipped one, or by the path of your own file, which ends in ``.toml``.

    Raises:
        SettingsError: If there is no such profile, or the file or the environment says something unusable. It names
            the file and the field, never what was said: that may be a secret.
    """
    name = str(name_or_path)
    file: Traversable
    if name.endswith(".toml"):
        file = Path(name)
    elif name in shipped_profiles():
        file = _SHIPPED / f"{name}.toml"
    else:
        raise SettingsError(
            f"there is no profile {name!r} of self-hosted models; choose one of {', '.join(shipped_profiles())}, "
            "or the path of a .toml file"
        )
    written = _read(file, name)
    said = _assembled(written, Path(name).stem)
    if written.gate is not None:
        said["gate"] = Path(name).parent / written.gate
    try:
        return ProfileSettings.model_validate(said)
    except ValidationError as error:
        raise SettingsError(f"the profile {name!r} cannot be used: {_first(error)}") from error


class _Written(BaseSettings):
    """A profile as it is written: lists are mappings from number to entry, so that sources merge entry by entry."""

    model_config = SettingsConfigDict(
        env_prefix="CASLIE_", env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )

    name: str | None = None
    description: str | None = None
    notes: list[str] | None = None
    vllm: str | None = None
    pipeline: dict[str, Any] = Field(default_factory=dict)
    gate: str | None = None
    host: str = "127.0.0.1"
    api_key: SecretStr | None = None
    defaults: dict[str, Any] = Field(default_factory=dict)
    captioner: dict[str, Any] = Field(default_factory=dict)
    captioners: dict[str, dict[str, Any]] = Field(default_factory=dict)
    judges: dict[str, dict[str, Any]] = Field(default_factory=dict)
    predictor: dict[str, Any] = Field(default_factory=dict)
    embeddings: dict[str, Any] | Literal["embedded"] = "embedded"


class _Toml(TomlConfigSettingsSource):
    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        written = super()._read_file(file_path)
        for name in _LISTS:
            if isinstance(entries := written.get(name), list):
                written[name] = {str(number): entry for number, entry in enumerate(entries)}
        return written


class _Environment(EnvSettingsSource):
    def __call__(self) -> dict[str, Any]:
        # These fields are read from the file only. Variables such as CASLIE_NAME may belong to something else, and
        # CASLIE_GATE, CASLIE_QUORUM and the like set `Settings`.
        own = ("name", "description", "notes", "vllm", "pipeline", "gate")
        return {name: value for name, value in super().__call__().items() if name not in own}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        decoded = super().decode_complex_value(field_name, field, value)
        # "12345" is a key and no number; what a scalar means is for the role's own settings to say.
        return decoded if isinstance(decoded, list | dict) else value


def _read(file: Traversable, name: str) -> _Written:
    class FromFile(_Written):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (_Environment(settings_cls), _Toml(settings_cls, toml_file=file))

    if not file.is_file():
        raise SettingsError(f"the profile {name!r} does not exist; check the path")
    try:
        return FromFile()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the profile {name!r} cannot be read: {type(error).__name__}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the profile {name!r} is not TOML: {error}") from error
    except ValidationError as error:
        raise SettingsError(f"the profile {name!r} cannot be used: {_first(error)}") from error
    except UnreadableError as error:
        raise SettingsError(f"the settings in the environment cannot be read: {error}") from error


def _assembled(written: _Written, name: str) -> dict[str, Any]:
    """Spreads what the roles share over them, leaving what was not said to the defaults."""
    said = written.model_dump(exclude_unset=True, exclude={"host", "api_key", "defaults", "captioner", "captioners"})
    captioners = {number: dict(entry) for number, entry in written.captioners.items()}
    if "captioner" in written.model_fields_set:
        captioners["0"] = captioners.get("0", {}) | written.captioner
    shared = dict(written.defaults)
    if written.api_key is not None:
        shared["api_key"] = written.api_key

    def role(entry: dict[str, Any]) -> dict[str, Any]:
        backend = str((shared | entry).get("backend", SERVED))
        whole = {name: value for name, value in shared.items() if name not in _OTHERS.get(backend, ())} | entry
        if urls := whole.get("urls"):
            whole["urls"] = _placed(urls, written.host)
        return whole

    said["name"] = written.name or name
    said["captioners"] = {number: role(entry) for number, entry in captioners.items()}
    said["judges"] = {number: role(entry) for number, entry in written.judges.items()}
    if "predictor" in written.model_fields_set:
        said["predictor"] = role(written.predictor)
    if isinstance(written.embeddings, dict):
        said["embeddings"] = role(written.embeddings)
    return said


def _placed(urls: object, host: str) -> object:
    if isinstance(urls, str):
        return urls.replace("{host}", host)
    return [_placed(url, host) for url in urls] if isinstance(urls, list) else urls


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Where an entry may be of several kinds, pydantic names the kind too.
    field = ".".join(str(part) for part in first["loc"] if part not in _KINDS)
    return f"{field}: {first['msg']}"
