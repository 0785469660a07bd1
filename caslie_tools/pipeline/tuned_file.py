"""A JSON file that a tuning command writes and a pipeline reads."""

import json
from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationError

from caslie_tools.domain import FrozenModel
from caslie_tools.exceptions import SettingsError


class TunedFile(FrozenModel):
    """Base class of what tuning commands write."""

    file_name: ClassVar[str]
    """What error messages call the file, such as "the tuned gate"."""
    command: ClassVar[str]
    """The command that writes the file."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a file that the tuning command wrote.

        Raises:
            SettingsError: If the file cannot be read, or its content is invalid.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise SettingsError(f"{cls.file_name} {path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            if first["loc"] == ("version",):
                raise SettingsError(
                    f"{cls.file_name} {path} cannot be used: its version is one that this version of caslie-tools does "
                    f"not read; update caslie-tools, or write the file again with `{cls.command}`"
                ) from error
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise SettingsError(f"{cls.file_name} {path} cannot be used: {where}: {first['msg']}") from error

    def save(self, path: Path) -> None:
        """Writes the file.

        Raises:
            SettingsError: If the file cannot be written.
        """
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=2)
        try:
            path.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"{self.file_name} {path} cannot be written: {error.strerror}") from error
