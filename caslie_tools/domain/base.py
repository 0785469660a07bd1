"""What all types of the data model share."""

import hashlib
import json
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]


class FrozenModel(BaseModel):
    """Base class of the data model: frozen, and unknown fields are an error."""

    # A rejected value may contain a signed URL or the bytes of an image: error messages leave it out.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ProgressCallback(Protocol):
    """Receives the progress of a long run, one call per finished item.

    The result of an item is stored before the callback is called for it.
    """

    def __call__(self, step: str, item: str, done: int, total: int, /) -> None:
        """Receives the step's name, the item just finished, how many items are done and how many there are."""
        ...


def digest(value: object) -> str:
    """Returns the SHA-256 (hex) of a JSON value in its canonical form."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
