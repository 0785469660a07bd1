"""Learning a gate from made-up votes of known quality."""

import math
import random
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="tuning a gate needs the extra 'evaluation'")

from caslie_tools.domain import Vote
from caslie_tools.evaluation.outcomes import CaptionOutcome, Outcome
from caslie_tools.exceptions import DataError
from caslie_tools.pipeline.tuned_gate import TunedGate
from caslie_tools.tuning.gate import GateTuning, tune_gate
from caslie_tools.tuning.gate_kinds import GateKind, TaskTuning
from tests.evaluation.made_up_runs import judged, outcome, write_run
from tests.tuning.voting_runs import JUDGES, TASK, CastVote, good, guess, noise, run_of


def found_for(tuning: GateTuning, kind: GateKind) -> TaskTuning:
    (found,) = (candidate for candidate in tuning.candidates if candidate.kind == kind)
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_good_judge_among_random_ones_is_found_and_beats_the_untuned_gate(tmp_path: Path, seed: int) -> None:
    tuning = tune_gate(run_of(tmp_path, good, noise, noise, guess, guess, seed=seed))
    for kind in ("weights", "learned"):
        found = found_for(tuning, kind)
        assert found.better
        assert (found.count, found.helpful, found.misleading) == (300, 75, 75)
        assert found.none == found.every == 0.5
        assert found.tuned is not None
        assert found.gain is not None
        assert found.interval is not None
        assert found.p_value is not None
        assert 0.68 < found.tuned < 0.74  # the optimum is 0.75; nine of ten of the 150 decisive captions give 0.70
        assert found.gain == pytest.approx(found.tuned - found.untuned)
        assert 0 < found.interval.low < found.gain < found.interval.high
        assert found.p_value < 0.001
    assert tuning.gate is not None
    assert tuning.gate.provenance["data"] == "made-up.json"
    assert tuning.gate.provenance["splits"] == ["test"]


def test_of_equal_gates_the_one_that_asks_fewer_judges_is_chosen(tmp_path: Path) -> None:
    tuning = tune_gate(run_of(tmp_path, good, noise, noise, guess, guess))
    weights, learned = found_for(tuning, "weights"), found_for(tuning, "learned")
    assert learned.tuned == weights.tuned
    assert learned.asked == ("good",)
    assert tuning.tasks == (learned,)
    assert tuning.gate is not None
    assert tuning.gate.judges == tuning.judges == JUDGES
    assert tuning.gate.tasks[TASK].learned is not None


def test_the_estimate_of_a_learned_gate_is_better_than_the_shares_of_the_effects(tmp_path: Path) -> None:
    learned = found_for(tune_gate(run_of(tmp_path, good, noise, noise, guess, guess)), "learned")
    assert learned.log_loss is not None
    assert learned.log_loss_of_shares is not None
    assert learned.log_loss_of_shares == pytest.approx(math.log(4), rel=0.01)  # four effects of equal frequency
    assert learned.log_loss < learned.log_loss_of_shares - 0.1


def test_numbers_behind_a_vote_decide_where_the_votes_say_nothing(tmp_path: Path) -> None:
    def surprised(draw: random.Random, helps: bool) -> Vote:
        change = draw.gauss(0.4 if helps else -0.4, 0.3)
        return Vote(judge="surprised", verdict=draw.choice(["yes", "no"]), signals={"margin_change": change})

    tuning = tune_gate(run_of(tmp_path, surprised, noise, noise, guess, guess))
    assert not found_for(tuning, "weights").better
    (found,) = tuning.tasks
    assert (found.kind, found.better, found.asked) == ("learned", True, (JUDGES[0],))
    assert tuning.gate is not None
    learned = tuning.gate.tasks[TASK].learned
    assert learned is not None
    assert (JUDGES[0], "margin_change") in [(feature.judge, feature.signal) for feature in learned.features]


@pytest.mark.parametrize("seed", range(5))
def test_a_gate_from_random_votes_is_refused(tmp_path: Path, seed: int) -> None:
    tuning = tune_gate(run_of(tmp_path, noise, noise, noise, noise, noise, seed=seed))
    (found,) = tuning.tasks
    assert not found.better
    assert found.interval is not None
    assert found.interval.low <= 0
    assert found.reason == "not shown to be better, so nothing changes"
    assert tuning.gate is None


def test_a_jury_of_good_judges_keeps_its_majority(tmp_path: Path) -> None:
    (found,) = tune_gate(run_of(tmp_path, *[good] * 5)).tasks
    assert found.untuned > 0.73
    assert not found.better


def test_a_task_with_too_little_data_keeps_the_majority_and_others_are_tuned(tmp_path: Path) -> None:
    run = run_of(tmp_path / "one", good, noise, noise, guess, guess)
    lines = (run / "outcomes.jsonl").read_text().splitlines()
    outcomes = [Outcome.model_validate_json(line) for line in lines]
    few = [
        one.model_copy(update={"task": "category_classification", "index": 1000 + one.index, "key": f"few-{one.key}"})
        for one in outcomes[:12]
    ]
    tuning = tune_gate(write_run(tmp_path / "two", [*outcomes, *few]))
    assert [(found.task, found.better) for found in tuning.tasks] == [("category_classification", False), (TASK, True)]
    assert tuning.tasks[0].reason == (
        "not enough data to tune: helpful captions of 3 different products and misleading captions of 3, 5 of each are "
        "needed"
    )
    assert tuning.tasks[0].tuned is None
    # With two tasks and four tests for each, each interval is wider, so that all together have 95%.
    interval = tuning.tasks[1].interval
    assert interval is not None
    assert interval.level == pytest.approx(1 - 0.05 / 8)
    assert tuning.gate is not None
    assert list(tuning.gate.tasks) == [TASK]


def test_tuning_is_deterministic(tmp_path: Path) -> None:
    run = run_of(tmp_path, good, noise, guess)
    assert tune_gate(run) == tune_gate(run)


def test_without_a_quorum_weighted_votes_keep_no_caption(tmp_path: Path) -> None:
    def silent(draw: random.Random, _: bool) -> Vote:
        return Vote(judge="silent", verdict="abstain")

    tuning = tune_gate(run_of(tmp_path, good, silent, silent, silent, guess))
    weights = found_for(tuning, "weights")
    assert weights.untuned == weights.tuned == weights.none
    assert (weights.untuned_kept, weights.tuned_kept) == (0, 0)
    assert not weights.better
    # A learned gate asks only judges that say something, and needs the same share of them.
    assert found_for(tuning, "learned").better
    assert tuning.gate is not None
    learned = tuning.gate.tasks[TASK].learned
    assert learned is not None
    assert learned.answers_needed == 1


def test_the_notes_name_the_split_and_warn_about_test_splits(tmp_path: Path) -> None:
    tuning = tune_gate(run_of(tmp_path, good, noise, noise))
    assert tuning.notes[0] == "tuned on the split test: evaluate the gate on another split"
    assert "a test split was used for tuning" in tuning.notes[1]
    assert tuning.notes[2].startswith("some outcomes do not name their products, so instances of one product may count")


def test_a_run_without_the_treatments_or_the_whole_jury_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "without", [outcome(0, "A", {"none": "A", "every": "A"})])
    with pytest.raises(DataError, match="treatments none, every and gated"):
        tune_gate(run)
    votes = [Vote(judge="first", verdict="yes"), Vote(judge="second", verdict="no")]
    mixed = [judged(index, none=False, every=True, votes=votes[: 2 - index]) for index in range(2)]
    with pytest.raises(DataError, match="record 1 was not judged by the whole jury: first, second"):
        tune_gate(write_run(tmp_path / "mixed", mixed))


def test_a_run_that_used_a_tuned_gate_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, good, noise, noise)
    (run / "run.json").write_text('{"settings": {"quorum": 2, "gate": "0123"}}', encoding="utf-8")
    with pytest.raises(DataError, match="without CASLIE_GATE and without a gate in the profile"):
        tune_gate(run)


@pytest.mark.parametrize(("lost", "better"), [(5, False), (8, True)])
def test_a_few_changed_answers_are_not_significant_even_if_the_interval_is_above_0(
    tmp_path: Path, lost: int, better: bool
) -> None:
    votes = [Vote(judge=name, verdict="yes", probability=0.7) for name in JUDGES]
    outcomes = [of_two(judged(index, none=True, every=index >= lost, votes=votes, kept=True)) for index in range(80)]
    (found,) = (tuning := tune_gate(write_run(tmp_path, outcomes))).tasks
    assert found.interval is not None
    assert found.interval.low > 0
    assert found.better is better  # the exact p-value is 0.0625 for 5 to 0, and 0.0078 for 8 to 0
    assert (tuning.gate is not None) is better


def test_a_saved_gate_can_be_loaded(tmp_path: Path) -> None:
    tuning = tune_gate(run_of(tmp_path, good, noise, noise))
    assert tuning.gate is not None
    path = tmp_path / "gate.json"
    tuning.gate.save(path)
    assert TunedGate.load(path) == tuning.gate


def of_two(made: Outcome) -> Outcome:
    """The same instance with two captions, which were only evaluated together."""
    every = made.treatments["every"].model_copy(update={"fused": 2})
    return made.model_copy(update={"treatments": made.treatments | {"every": every}})


def of_several_captions(folder: Path, *, right_without: int, count: int = 100) -> Path:
    """A run of instances with two captions, which the majority keeps. ``right_without``: right without captions."""
    votes = [Vote(judge=name, verdict="yes") for name in JUDGES]
    outcomes = []
    for index in range(count):
        made = judged(index, none=index < right_without, every=index % 2 == 0, votes=votes, kept=True)
        outcomes.append(of_two(made))
    return write_run(folder, outcomes)


def of_a_helpful_and_a_misleading_caption(folder: Path, *judges: CastVote, count: int = 120) -> Path:
    """A run of pairs of captions. In every other instance, one of the two misleads; in the others, one helps."""
    draw = random.Random(5)  # noqa: S311 (made-up votes)
    outcomes = []
    for index in range(count):
        misled = index % 2 == 0
        effects = ((True, False), (False, True)) if misled else ((False, True), (True, True))
        captions = []
        for place, (right_without, helps) in enumerate(effects):
            votes = tuple(
                vote(draw, helps).model_copy(update={"judge": name}) for vote, name in zip(judges, JUDGES, strict=False)
            )
            kept = sum(vote.verdict == "yes" for vote in votes) > len(votes) / 2
            captions.append(
                CaptionOutcome(image=place, text="A mug.", kept=kept, votes=votes, right_without=right_without)
            )
        made = judged(index, none=False, every=not misled, kept=True)  # the gate is as good as keeping all
        fused = {"none": 0, "every": 2, "gated": sum(caption.kept for caption in captions)}
        treatments = {
            name: treated.model_copy(
                update={"captions": () if name == "none" else tuple(captions), "fused": fused[name]}
            )
            for name, treated in made.treatments.items()
        }
        outcomes.append(made.model_copy(update={"treatments": treatments, "products": (f"p{index}",)}))
    return write_run(folder, outcomes)


def test_votes_on_several_captions_are_weighted_by_the_effect_of_each(tmp_path: Path) -> None:
    tuning = tune_gate(of_a_helpful_and_a_misleading_caption(tmp_path, good, noise, noise, guess, guess))
    (found,) = tuning.tasks
    assert (found.count, found.clusters, found.helpful, found.misleading) == (120, 120, 60, 60)
    assert found.better
    assert found.reason == "better than the untuned gate, caption by caption"
    assert found.tuned is None
    assert found.gain is not None
    assert found.gain > 0.1
    assert tuning.gate is not None
    assert found.asked is not None
    assert found.asked[0] == "good"


def test_votes_on_several_captions_that_are_noise_give_no_gate(tmp_path: Path) -> None:
    tuning = tune_gate(of_a_helpful_and_a_misleading_caption(tmp_path, noise, noise, noise, guess, guess))
    assert tuning.gate is None
    assert tuning.tasks[0].reason == "not shown to be better, so nothing changes, caption by caption"


def test_if_all_captions_together_mislead_the_gate_keeps_none(tmp_path: Path) -> None:
    tuning = tune_gate(of_several_captions(tmp_path, right_without=90))
    (found,) = tuning.tasks
    assert (found.none, found.every, found.untuned) == (0.9, 0.5, 0.5)
    assert found.tuned == pytest.approx(0.9)
    assert (found.untuned_kept, found.tuned_kept) == (1.0, 0.0)
    assert found.reason == "better than the untuned gate: no caption is kept"
    assert tuning.gate is not None
    assert tuning.gate.tasks[TASK].keeps_all is False


def test_an_insignificant_difference_gives_no_gate(tmp_path: Path) -> None:
    tuning = tune_gate(of_several_captions(tmp_path, right_without=55))
    assert tuning.gate is None
    assert tuning.tasks[0].reason == "not shown to be better, so nothing changes"


def test_with_too_few_helpful_captions_the_gate_may_still_keep_none(tmp_path: Path) -> None:
    votes = [Vote(judge=name, verdict="yes", probability=0.7) for name in JUDGES]
    outcomes = [
        judged(index, none=index >= 2, every=index not in range(2, 30), votes=votes, kept=True) for index in range(150)
    ]
    (found,) = (tuning := tune_gate(write_run(tmp_path, outcomes))).tasks
    assert (found.helpful, found.misleading, found.strength) == (2, 28, None)
    assert tuning.gate is not None
    assert tuning.gate.tasks[TASK].keeps_all is False
