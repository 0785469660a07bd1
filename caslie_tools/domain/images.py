"""References to images."""

import base64
import json
import re
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, SerializationInfo, field_validator, model_serializer, model_validator
from pydantic_core import from_json

from caslie_tools.domain.base import FrozenModel, digest

WITH_LOCATIONS: Final = {"with_locations": True}
"""Pass it as ``context=`` to ``model_dump`` or ``model_dump_json`` to write the locations of images, for a store."""


_MAX_LABEL: Final = 200


class ImageRef(FrozenModel):
    """The location of an image: exactly one of a path, its bytes, a URL, or the key of an image in a store.

    A location is private: it may hold the bytes of an image, a path on this machine, or a URL with credentials or a
    signed query. The text forms (``str``, ``repr``) show a label only, such as a file name. JSON has the label and an
    opaque id, unless it is written with the context :data:`WITH_LOCATIONS`. ``model_dump`` keeps the location in a
    ``SecretStr``, which checkpointers of LangGraph store and its server does not send.
    """

    path: Path | None = None
    """A file on this machine."""
    data: bytes | None = Field(default=None, repr=False)
    """The encoded image. Base64 in JSON."""
    url: str | None = Field(default=None, repr=False)
    """A ``data:`` or ``http(s)://`` URL."""
    stored: str | None = None
    """The key of an image in a store, which finds it with ``resolve_image``. It tells nothing about the location."""
    name: str = ""
    """The label of a stored image."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.path, self.data, self.url, self.stored)) != 1:
            raise ValueError("an image is exactly one of path, data, url or stored")
        if self.url is not None and not re.match(r"(?i)(https?://|data:)", self.url):
            raise ValueError("an image URL starts with http://, https:// or data:")
        return self

    @model_validator(mode="before")
    @classmethod
    def _from_secret(cls, value: object) -> object:
        location = value.get("location") if isinstance(value, dict) else None
        if isinstance(location, SecretStr):
            location = location.get_secret_value()
        # It is a plain string if a checkpointer was not allowed to load a SecretStr.
        return from_json(location) if isinstance(location, str) else value

    @field_validator("data", mode="before")
    @classmethod
    def _from_base64(cls, value: object) -> object:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value

    @model_serializer
    def _serialize(self, info: SerializationInfo) -> dict[str, str | SecretStr]:
        if info.context and info.context.get("with_locations"):
            return {**self._location}
        public: dict[str, str | SecretStr] = {"id": self.id, "label": self.label}
        return public if info.mode == "json" else public | {"location": SecretStr(json.dumps(self._location))}

    @property
    def _location(self) -> dict[str, str]:
        if self.path is not None:
            return {"path": str(self.path)}
        if self.data is not None:
            return {"data": base64.b64encode(self.data).decode("ascii")}
        return {"url": self.url} if self.url is not None else {"stored": self.stored or "", "name": self.name}

    @property
    def id(self) -> str:
        """An opaque id: equal for equal locations. It does not depend on the credentials in a URL."""
        location = self._location
        if self.url is not None and not self._is_data_url:
            scheme, _, rest = self.url.partition("://")
            location = {"url": f"{scheme}://{rest.rpartition('@')[2]}"}
        return digest(location)[:32]

    @classmethod
    def parse(cls, text: str, *, base: Path | None = None) -> Self:
        """Parses a reference as written in a catalogue: a URL, or a path relative to ``base``."""
        text = text.strip()
        if re.match(r"(?i)(https?|data):", text):
            return cls(url=text)
        return cls(path=(base / text) if base is not None else Path(text))

    @property
    def label(self) -> str:
        """A short name for display: a file name, or a URL without credentials and query; at most 200 characters."""
        return self._name if len(self._name) <= _MAX_LABEL else f"{self._name[: _MAX_LABEL - 3]}..."

    @property
    def _name(self) -> str:
        if self.path is not None:
            return self.path.name
        if self.data is not None:
            return f"{len(self.data)} bytes"
        if self.url is None:
            return self.name or "stored image"
        if self._is_data_url:
            return "data URL"
        try:
            parts = urlsplit(self.url)
        except ValueError:  # for example an incomplete IPv6 address
            return "malformed URL"
        if "@" in parts.path:
            # With a slash in the password, its end is in the path, and the user's name looks like the host.
            return f"{parts.scheme}://.../{parts.path.rpartition('/')[2].rpartition('@')[2]}"
        return f"{parts.scheme}://{parts.hostname}{parts.path}"

    @property
    def _is_data_url(self) -> bool:
        return self.url is not None and self.url[:5].lower() == "data:"

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return f"ImageRef({self.label!r})"
