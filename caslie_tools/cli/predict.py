"""``caslie predict``: solves one instance of a task."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import AsJson, Explain, Images, ProfileName, Store, TextOnly
from caslie_tools.cli.render import show_response
from caslie_tools.cli.runner import Document
from caslie_tools.cli.session import from_here


def predict(
    task: Annotated[
        str,
        typer.Argument(metavar="TASK", help="Name or abbreviation of a task: category_classification, or cc."),
    ],
    instance: Annotated[
        Path, typer.Argument(metavar="INPUT.json", help="File with the instance, in the format of MMECInstruct.")
    ],
    image: Images = None,
    text_only: TextOnly = False,
    explain: Explain = False,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> Document | None:
    """Solve one instance of a task."""
    record = _read_instance(instance)
    with open_caslie(store, profile) as caslie:
        response = caslie.predict(task, record, images=image or (), use_images=not text_only)
    if as_json:
        return response.to_json()
    show_response(response, explain=explain)
    return None


def _read_instance(path: Path) -> Any:
    from caslie_tools.exceptions import InstanceError

    try:
        record = json.loads(from_here(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InstanceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InstanceError(f"{path}: not JSON: {error}") from error
    if isinstance(record, dict) and isinstance(record.get("images"), list):
        record["images"] = [_resolve(image, from_here(path).parent) for image in record["images"]]
    return record


def _resolve(image: object, folder: Path) -> object:
    """Makes the path of an image relative to the folder of the instance; returns a URL unchanged."""
    if not isinstance(image, str) or image.lower().startswith(("http:", "https:", "data:")):
        return image
    return str(folder / image)
