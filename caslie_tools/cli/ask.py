"""``caslie ask``: answers a question about products."""

from typing import Annotated

import typer

from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import AsJson, Explain, Images, ProfileName, Store, TextOnly, Where
from caslie_tools.cli.render import show_response
from caslie_tools.cli.runner import Document


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question of a shopper.")],
    product: Annotated[
        list[str] | None,
        typer.Option(
            "--product", help="Id of a product that the question is about. Repeatable. Default: search the store."
        ),
    ] = None,
    image: Images = None,
    where: Where = None,
    text_only: TextOnly = False,
    explain: Explain = False,
    store: Store = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> Document | None:
    """Answer a question about one product, several products, or the whole catalogue."""
    with open_caslie(store, profile, create=False) as caslie:
        response = caslie.ask(
            question, products=product or (), images=image or (), where=where, use_images=not text_only
        )
    if as_json:
        return response.to_json()
    show_response(response, explain=explain)
    return None
