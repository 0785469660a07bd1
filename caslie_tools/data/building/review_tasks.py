"""What reviews support: sentiment_analysis."""

from collections.abc import Iterator

from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.shop import Draft, LeftOut, Shop
from caslie_tools.data.building.splits import Splitter

TASK = "sentiment_analysis"


def sentiment_analysis(shop: Shop, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Asks how the reviewer feels: five stars are very positive, one star is very negative.

    The picture is the review's own, as the task has it; a review without one is text only.
    """
    for review in shop.reviews:
        picture = shop.review_pictures.get(review.image) if review.image is not None else None
        yield Draft(
            task=TASK,
            input={"review": review.text},
            output="ABCDE"[5 - review.stars],
            pictures=((picture, review.product),) if picture else (),
            products=(review.product,),
            users=(review.user,) if review.user else (),
            times=(review.time,),
        )
