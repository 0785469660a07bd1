import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from caslie_tools.evaluation.clusters import cluster_folds, connected_clusters, main_clusters, names_of
from tests.evaluation.made_up_runs import outcome

_names = st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=3), min_size=1, max_size=40)


def names(*texts: str) -> list[frozenset[str]]:
    return [frozenset(text.split()) for text in texts]


def test_an_instance_has_the_names_of_its_products_and_users() -> None:
    made = outcome(0, "A", {"none": "A"}).model_copy(update={"products": ("p1", "p2"), "users": ("p1",)})
    assert names_of(made) == {"p1", "p2", "user:p1"}


def test_the_main_cluster_is_that_of_the_most_frequent_name() -> None:
    assert main_clusters(names("a b", "a", "b", "a c", "", "", "c")).tolist() == [0, 0, 1, 0, 2, 3, 4]


def test_connected_clusters_share_nothing_through_others_either() -> None:
    assert connected_clusters(names("a b", "c", "b d", "", "d", "c e", "")).tolist() == [0, 1, 0, 2, 0, 1, 3]


@given(_names)
def test_no_two_connected_clusters_share_a_name(each: list[frozenset[str]]) -> None:
    clusters = connected_clusters(each)
    for one, first in zip(each, clusters, strict=True):
        for other, second in zip(each, clusters, strict=True):
            assert first == second or one.isdisjoint(other)


@given(_names, st.integers(2, 5))
def test_folds_decide_every_row_once_and_learn_from_no_product_of_it(each: list[frozenset[str]], count: int) -> None:
    folds = list(cluster_folds(each, [0] * len(each), count))
    assert sorted(row for _, decided in folds for row in decided.tolist()) == list(range(len(each)))
    for seen, decided in folds:
        learned = {name for row in seen.tolist() for name in each[row]}
        assert all(learned.isdisjoint(each[row]) for row in decided.tolist())


def test_folds_have_similar_shares_of_each_label() -> None:
    labels = [1] * 30 + [-1] * 70
    for seen, decided in cluster_folds(names(*(f"p{number}" for number in range(100))), labels, 5):
        assert (np.array(labels)[decided] == 1).sum() == 6
        assert len(decided) == 20
        assert len(seen) == 80
