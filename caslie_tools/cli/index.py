"""``caslie index``: stores, embeds and captions the products of a catalogue."""

from caslie_tools.cli.opening import open_caslie
from caslie_tools.cli.options import AsJson, Catalogue, ProfileName, ShowProgress, Store
from caslie_tools.cli.progress import ProgressDisplay, show_progress
from caslie_tools.cli.render import show_index_report
from caslie_tools.cli.runner import Document


def index(
    catalogue: Catalogue,
    store: Store = None,
    profile: ProfileName = None,
    progress: ShowProgress = ProgressDisplay.AUTO,
    as_json: AsJson = False,
) -> Document | None:
    """Index a catalogue: store its products, and caption their images.

    Run the command again to resume an interrupted run or to update the store. Unchanged products are skipped.
    """
    with open_caslie(store, profile) as caslie, show_progress(progress) as advance:
        report = caslie.index(catalogue, progress=advance)
    if as_json:
        return report.model_dump(mode="json")
    show_index_report(report)
    return None
