"""Reads a profile of self-hosted models from a TOML file and from the environment, which overrides the file.

A file has one table per role: ``[captioner]`` (or several ``[[captioners]]``), ``[[judges]]``, ``[predictor]``,
optionally ``[embeddings]``, instead of the small embedded model, ``[claim_checker]``, which removes false claims from
captions, and ``[vision_predictor]``, a baseline of evaluations. ``[defaults]`` has the values that all roles share.
``[pipeline]`` has settings of the pipeline that suit the models: ``wire_format``, ``quorum``, ``reuse_threshold``.
``backend = "transformers"`` runs a role in this process; without it the role is on a server.

In the environment, ``CASLIE_PREDICTOR__MODEL`` sets ``model`` of the predictor, ``CASLIE_JUDGES__0__URLS`` the URLs of
the first judge, ``CASLIE_DEFAULTS__TIMEOUT_SECONDS`` a value that all roles share, and ``CASLIE_API_KEY`` the key of
every role that has no key of its own. ``{host}`` in a URL is replaced by ``CASLIE_HOST``, by default this machine.
"""

import tomllib
from collections.abc import Collection
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
# Shared values that only the other backend has do not apply to a role.
_FIELDS_OF_OTHER_BACKEND = {
    SERVED: TransformersSettings.model_fields.keys() - EndpointSettings.model_fields.keys(),
    IN_PROCESS: EndpointSettings.model_fields.keys() - TransformersSettings.model_fields.keys(),
}
_BACKENDS = (SERVED, IN_PROCESS, "embedded")


def shipped_profiles() -> tuple[str, ...]:
    """Returns the names of the profiles of self-hosted models that come with the package."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _SHIPPED.iterdir() if file.name.endswith(".toml")))


def load_profile_settings(name_or_path: str | Path) -> ProfileSettings:
    """Reads a profile.

    Args:
        name_or_path: The name of a shipped profile, or the path of a file that ends in ``.toml``.

    Raises:
        SettingsError: If there is no such profile, or if the file or the environment has an invalid value. The message
            names the file and the field, but never the value, which may be a secret.
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
    raw = _read(file, name)
    values = _with_shared_values(raw, Path(name).stem)
    for tuned in ("gate", "text_first"):
        if (path := getattr(raw, tuned)) is not None:
            values[tuned] = Path(name).parent / path
    try:
        return ProfileSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"the profile {name!r} cannot be used: {_describe(error)}") from error


class _RawProfile(BaseSettings):
    """A profile before its roles are validated.

    Lists are mappings from number to entry, so that the file and the environment are merged entry by entry.
    """

    model_config = SettingsConfigDict(
        env_prefix="CASLIE_", env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )

    name: str | None = None
    description: str | None = None
    notes: list[str] | None = None
    vllm: str | None = None
    pipeline: dict[str, Any] = Field(default_factory=dict)
    gate: str | None = None
    text_first: str | None = None
    utility: str | None = None
    host: str = "127.0.0.1"
    api_key: SecretStr | None = None
    defaults: dict[str, Any] = Field(default_factory=dict)
    captioner: dict[str, Any] = Field(default_factory=dict)
    captioners: dict[str, dict[str, Any]] = Field(default_factory=dict)
    judges: dict[str, dict[str, Any]] = Field(default_factory=dict)
    predictor: dict[str, Any] = Field(default_factory=dict)
    claim_checker: dict[str, Any] = Field(default_factory=dict)
    vision_predictor: dict[str, Any] = Field(default_factory=dict)
    embeddings: dict[str, Any] | Literal["embedded"] = "embedded"


class _Toml(TomlConfigSettingsSource):
    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        values = super()._read_file(file_path)
        for name in _LISTS:
            if isinstance(entries := values.get(name), list):
                values[name] = {str(number): entry for number, entry in enumerate(entries)}
        return values


class _Environment(EnvSettingsSource):
    def __call__(self) -> dict[str, Any]:
        # These fields are read from the file only. Variables such as CASLIE_NAME may belong to something else, and
        # CASLIE_GATE, CASLIE_QUORUM and the like set `Settings`.
        file_only = ("name", "description", "notes", "vllm", "pipeline", "gate", "text_first", "utility")
        return {name: value for name, value in super().__call__().items() if name not in file_only}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        decoded = super().decode_complex_value(field_name, field, value)
        # Scalars stay texts, such as the key "12345". The settings of the role parse them.
        return decoded if isinstance(decoded, list | dict) else value


def _read(file: Traversable, name: str) -> _RawProfile:
    class FromFile(_RawProfile):
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
        raise SettingsError(f"the profile {name!r} cannot be used: {_describe(error)}") from error
    except UnreadableError as error:
        raise SettingsError(f"the settings in the environment cannot be read: {error}") from error


def _with_shared_values(raw: _RawProfile, name: str) -> dict[str, Any]:
    """Returns the values of a profile, with the shared values copied into each role. Unset values are left out."""
    values = raw.model_dump(exclude_unset=True, exclude={"host", "api_key", "defaults", "captioner", "captioners"})
    captioners = {number: dict(entry) for number, entry in raw.captioners.items()}
    if "captioner" in raw.model_fields_set:
        captioners["0"] = captioners.get("0", {}) | raw.captioner
    shared = dict(raw.defaults)
    if raw.api_key is not None:
        shared["api_key"] = raw.api_key

    def role(entry: dict[str, Any]) -> dict[str, Any]:
        backend = str((shared | entry).get("backend", SERVED))
        foreign: Collection[str] = _FIELDS_OF_OTHER_BACKEND.get(backend, ())
        whole = {name: value for name, value in shared.items() if name not in foreign} | entry
        if urls := whole.get("urls"):
            whole["urls"] = _with_host(urls, raw.host)
        return whole

    values["name"] = raw.name or name
    values["captioners"] = {number: role(entry) for number, entry in captioners.items()}
    values["judges"] = {number: role(entry) for number, entry in raw.judges.items()}
    if "predictor" in raw.model_fields_set:
        values["predictor"] = role(raw.predictor)
    if "claim_checker" in raw.model_fields_set:
        values["claim_checker"] = role(raw.claim_checker)
    if "vision_predictor" in raw.model_fields_set:
        values["vision_predictor"] = role(raw.vision_predictor)
    if isinstance(raw.embeddings, dict):
        values["embeddings"] = role(raw.embeddings)
    return values


def _with_host(urls: object, host: str) -> object:
    if isinstance(urls, str):
        return urls.replace("{host}", host)
    return [_with_host(url, host) for url in urls] if isinstance(urls, list) else urls


def _describe(error: ValidationError) -> str:
    """Returns the field and the message of the first error, without the value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # pydantic adds the tag of a discriminated union, here the backend, to the path of a field.
    field = ".".join(str(part) for part in first["loc"] if part not in _BACKENDS)
    return f"{field}: {first['msg']}"
