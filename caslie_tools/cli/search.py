"""``caslie search``: finds products."""

from typing import Annotated

import typer

from caslie_tools.cli.console import out, plain, show_table
from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import AsJson, ProfileName, Store, Where
from caslie_tools.cli.runner import Document
from caslie_tools.cli.session import image_from_here


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Text to search for.")] = "",
    image: Annotated[str | None, typer.Option("--image", help="Image to search for: a path or an http(s) URL.")] = None,
    where: Where = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="Maximum number of products.")] = 4,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> Document | None:
    """Search for products by text, by image, or by both."""
    with open_caslie(store, profile, create=False, check_models=False) as caslie:
        hits = caslie.search(text, image=image and image_from_here(image), where=where, count=count)
    if as_json:
        return {"products": [hit.model_dump(mode="json") for hit in hits]}
    if not hits:
        out.print("no product matches")
        return None
    show_table(
        ("score", "id", "title", "price", "matched"),
        (
            (
                f"{hit.score:.3f}",
                plain(hit.product.id),
                plain(hit.product.title),
                "" if hit.product.price is None else f"{hit.product.price:g}",
                ", ".join(match.kind for match in hit.matched),
            )
            for hit in hits
        ),
    )
    return None
