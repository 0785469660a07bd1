"""Instruction data on the model hub, by its id."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from caslie_tools._optional import require
from caslie_tools.data.json_files import read_json_values
from caslie_tools.exceptions import DataError

_FILE: Final = "dataset.json"  # MMECInstruct's own


def read_hub_values(dataset: str) -> Iterator[Any]:
    """Yields the records of a dataset on the hub, unvalidated.

    Its ``dataset.json`` is fetched once into the hub's cache and read as any file is: ``datasets`` would load the whole
    array into memory, streaming or not. A dataset in another form is streamed through ``datasets``. Nothing that a
    dataset brings along is run.

    Args:
        dataset: Its id, such as ``NingLab/MMECInstruct``.

    Raises:
        DataError: If it cannot be reached, there is none, or it breaks off.
        MissingExtraError: If the extra ``data`` is not installed.
    """
    require("datasets", "data", "Reading a dataset from the hub")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    try:
        file = Path(hf_hub_download(dataset, _FILE, repo_type="dataset"))
    except RemoteEntryNotFoundError:
        yield from _streamed(dataset)
        return
    except LocalEntryNotFoundError as error:
        raise _unreachable(dataset, "the hub cannot be reached") from error
    except (OSError, ValueError) as error:  # no such dataset, not for everybody, no room on the disk
        raise _unreachable(dataset, type(error).__name__) from error
    yield from read_json_values(file)


def _streamed(dataset: str) -> Iterator[Any]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        for split, rows in load_dataset(dataset, streaming=True).items():
            for row in rows:
                # A field that only some records have is null in the others.
                yield {"split": split} | {name: value for name, value in row.items() if value is not None}
    except (DatasetsError, OSError, ValueError) as error:
        raise _unreachable(dataset, type(error).__name__) from error


def _unreachable(dataset: str, reason: str) -> DataError:
    return DataError(
        f"{dataset}: there is no such file, and it cannot be read from the hub ({reason}); check the name and the "
        f"connection, or download its {_FILE} and pass that"
    )
