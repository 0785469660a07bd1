"""Builds sentiment_analysis, from reviews."""

from collections.abc import Iterator

from caslie_tools.data.building.drafts import Draft, LeftOut
from caslie_tools.data.building.options import BuildOptions
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.splits import Splitter

TASK = "sentiment_analysis"


def sentiment_analysis(shop: ShopData, splits: Splitter, options: BuildOptions) -> Iterator[Draft | LeftOut]:
    """Yields an instance per review: how does the reviewer feel? Five stars are very positive, one very negative.

    As the task defines it, the picture is the one that the reviewer attached. A review without a picture is text only.
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
