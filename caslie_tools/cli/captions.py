"""``caslie captions``: lists the captions of a store."""

from typing import Annotated

import typer

from caslie_tools.cli.console import out, plain, show_table
from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import AsJson, ProfileName, Store
from caslie_tools.cli.runner import Document


def captions(
    product: Annotated[str | None, typer.Option("--product", help="Only captions of the product with this id.")] = None,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> Document | None:
    """List the stored captions, with the model that wrote them and the question they answer."""
    with open_caslie(store, profile, create=False, check_models=False) as caslie:
        stored = caslie.captions(product)
    if as_json:
        return {"captions": stored}
    if not stored:
        out.print("no captions")
        return None
    rows = (
        (
            ", ".join(caption["products"]),
            caption["image"][:12],
            caption["focus"] or f"({caption['task']})",
            caption["text"],
            caption["captioner"].split("+")[0],  # the rest names its parts; --json has it
        )
        for caption in stored
    )
    show_table(("products", "image", "question", "caption", "captioner"), (map(plain, row) for row in rows))
    return None
