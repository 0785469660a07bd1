"""``caslie remove``: removes products from a store."""

from typing import Annotated

import typer

from caslie_tools.cli.console import first_lines, out, plain, show_warnings
from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import AsJson, DryRun, ProfileName, Store
from caslie_tools.cli.runner import FAILED, OK, Document


def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of the products.")],
    store: Store = None,
    profile: ProfileName = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> tuple[Document | None, int]:
    """Remove products from the store, with the images and captions that no other product uses.

    The exit code is 1 if the store has no product with one of the ids; the others are removed.
    """
    with open_caslie(store, profile, create=False, check_models=False) as caslie:
        asked = list(dict.fromkeys(ids))
        unknown = [each for each in asked if caslie.store.find_product(each) is None]
        removed = [each for each in asked if each not in unknown]
        if not dry_run:
            caslie.store.delete_products(removed)
    code = FAILED if unknown else OK
    if as_json:
        return {"removed": removed, "unknown": unknown, "dry_run": dry_run}, code
    verb = "would be removed" if dry_run else "removed"
    for line in first_lines(f"{verb}: {plain(each)}" for each in removed):
        out.print(line)
    show_warnings(first_lines(f"the store has no product {each!a}" for each in unknown))
    return None, code
