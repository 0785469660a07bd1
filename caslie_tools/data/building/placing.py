"""Places drafts: assigns each to a split, and writes a question that occurs several times only once."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from caslie_tools.data.building.drafts import Draft, LeftOut, PlacedDraft
from caslie_tools.data.building.options import SPLITS, BuildOptions
from caslie_tools.data.building.shop_data import ShopData
from caslie_tools.data.building.splits import Splitter
from caslie_tools.data.building.task_builders import TASK_BUILDERS
from caslie_tools.tasks import TASKS
from caslie_tools.tasks.answers import option_label, option_text


def place_drafts(
    tasks: Sequence[str], shop: ShopData, splits: Splitter, options: BuildOptions
) -> tuple[list[PlacedDraft], list[LeftOut]]:
    """Returns the instances, in the order in which they are written, and the candidates that are left out."""
    placed: dict[str, list[PlacedDraft]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for task in tasks:
        for draft in TASK_BUILDERS[task].build(shop, splits, options):
            if isinstance(draft, LeftOut):
                left_out.append(draft)
            elif isinstance(split := splits.place(draft), LeftOut):
                left_out.append(split)
            else:
                item = PlacedDraft(draft=draft, split=split)
                placed[item.key].append(item)
    merged = [_merge_equal(equal, left_out) for equal in placed.values()]
    unique = [item for item in merged if item is not None]
    order = {task: number for number, task in enumerate(TASKS)}
    return sorted(unique, key=lambda item: (SPLITS.index(item.split), order[item.draft.task], item.key)), left_out


def _merge_equal(equal: Sequence[PlacedDraft], left_out: list[LeftOut]) -> PlacedDraft | None:
    """Returns one of several drafts with the same question: one with the most frequent answer.

    Returns ``None`` if the drafts are in several splits, because rows of one split would determine the answer in
    another. Returns ``None`` for a tie as well.
    """
    task = equal[0].draft.task
    if len({item.split for item in equal}) > 1:
        left_out += [LeftOut(task=task, reason="the same question is in several splits")] * len(equal)
        return None
    answers = Counter(_answer_text(item.draft) for item in equal).most_common(2)
    if len(answers) == 2 and answers[0][1] == answers[1][1]:
        left_out += [LeftOut(task=task, reason="the same question has different answers equally often")] * len(equal)
        return None
    left_out += [LeftOut(task=task, reason="duplicate question")] * (len(equal) - 1)
    first = min(
        (item for item in equal if _answer_text(item.draft) == answers[0][0]), key=lambda item: item.draft.products
    )
    # All of the drafts determine the answer.
    users = tuple(sorted({user for item in equal for user in item.draft.users}))
    times = tuple(time for item in equal for time in item.draft.times)
    return replace(first, draft=replace(first.draft, users=users, times=times))


def _answer_text(draft: Draft) -> str:
    texts = {option_label(option): option_text(option) for option in draft.options}
    return texts.get(draft.output, draft.output)
