"""Reads instruction data from the Hugging Face hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from caslie_tools._optional import require
from caslie_tools.data.json_files import read_json_values
from caslie_tools.exceptions import DataError

_FILE: Final = "dataset.json"  # MMECInstruct's own


def read_hub_values(dataset: str) -> Iterator[Any]:
    """Yields the records of a dataset on the hub, not yet validated.

    If the dataset has a ``dataset.json``, that file is downloaded once into the hub's cache and read like a local file:
    ``datasets`` would load the whole array into memory, even when streaming. Any other dataset is streamed through
    ``datasets``. No code of the dataset is run.

    Args:
        dataset: The dataset's id, such as ``NingLab/MMECInstruct``.

    Raises:
        DataError: If the hub cannot be reached, the dataset does not exist, or it stops being JSON.
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
    except (OSError, ValueError) as error:  # the dataset does not exist or is private, or the disk is full
        raise _unreachable(dataset, type(error).__name__) from error
    yield from read_json_values(file)


def _streamed(dataset: str) -> Iterator[Any]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        for split, rows in load_dataset(dataset, streaming=True).items():
            for row in rows:
                # `datasets` sets a field to null in records that do not have it.
                yield {"split": split} | {name: value for name, value in row.items() if value is not None}
    except (DatasetsError, OSError, ValueError) as error:
        raise _unreachable(dataset, type(error).__name__) from error


def _unreachable(dataset: str, reason: str) -> DataError:
    return DataError(
        f"{dataset}: there is no such file, and the hub has no dataset of that name that can be read ({reason}); check "
        f"the name and the connection, or download the dataset's {_FILE} and pass its path"
    )
