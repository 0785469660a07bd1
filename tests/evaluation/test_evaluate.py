"""A run from data to outcomes: what is written, what is left out, when a run stops, and how it is resumed."""

import asyncio
import hashlib
import json
import random
import resource
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from caslie_tools.backends.endpoints.language_model import EndpointLanguageModel
from caslie_tools.backends.endpoints.settings import EndpointPredictorSettings
from caslie_tools.domain import Answer, Verdict
from caslie_tools.evaluation.evaluate import MAX_CONSECUTIVE_FAILURES, RunReport, evaluate
from caslie_tools.evaluation.metrics import score_answers
from caslie_tools.evaluation.outcome_log import OutcomeLog
from caslie_tools.evaluation.outcomes import DEFAULT_TREATMENTS, Outcome
from caslie_tools.evaluation.reading import read_outcomes, read_run_description
from caslie_tools.evaluation.run_description import RunDescription
from caslie_tools.exceptions import DataError, EndpointUnavailableError, InputError, ModelError
from caslie_tools.profiles.building import build_predictor
from caslie_tools.roles.interfaces import CaptionRequest, JudgeRequest
from caslie_tools.roles.usage import record_tokens
from caslie_tools.tasks import FusedInstance, get_task
from caslie_tools.testing import Fault, FaultyServer
from tests.doubles import FunctionCaptioner, FunctionJudge, light_captioner, raising
from tests.evaluation.cases import RED_MUG, comparable, many, opened, predicting, raw, relevance, write_data
from tests.time_limits import HANG_SECONDS

MPC = "multiclass_product_classification"


async def run(folder: Path, data: Path, *, out: str = "run", options: Any = None, **models: Any) -> RunReport:
    with opened(folder, **models) as caslie:
        return await evaluate(data, caslie, folder / out, **options or {})


class TestPredictors:
    """Six instances with the right answers A A A B B C. D is never right."""

    GOLD = "AAABBC"

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        return write_data(tmp_path, [relevance(f"q{n}", f"t{n}", label) for n, label in enumerate(self.GOLD)])

    async def answers(self, tmp_path: Path, data: Path, answer: Any) -> list[str | None]:
        await run(tmp_path, data, predictor=predicting(answer), options={"treatments": ["none"]})
        outcomes = read_outcomes(tmp_path / "run")
        assert "".join(outcome.gold for outcome in outcomes) == self.GOLD
        treated = [outcome.treatments["none"] for outcome in outcomes]
        assert [one.right for one in treated] == [
            one.answer == gold for one, gold in zip(treated, self.GOLD, strict=True)
        ]
        return [one.answer for one in treated]

    async def test_a_constant_predictor(self, tmp_path: Path, data: Path) -> None:
        given = await self.answers(tmp_path, data, lambda instance: "A")
        scored = score_answers(get_task(MPC), given, self.GOLD)
        # A: 3 true positives, 3 false positives: precision 1/2, recall 1. B and C: 0.
        assert scored.accuracy == 3 / 6
        assert scored.macro_f1 == pytest.approx((2 / 3 + 0 + 0) / 3)

    async def test_a_perfect_predictor(self, tmp_path: Path, data: Path) -> None:
        given = await self.answers(tmp_path, data, lambda instance: self.GOLD[int(instance.input["query"][1])])
        scored = score_answers(get_task(MPC), given, self.GOLD)
        assert (scored.value, scored.accuracy, scored.macro_f1, scored.invalid) == (1, 1, 1, 0)

    async def test_a_random_predictor(self, tmp_path: Path, data: Path) -> None:
        def answer(instance: FusedInstance) -> str:
            return random.Random(f"7 {instance.input}").choice("ABCD")  # noqa: S311 (no secret)

        given = await self.answers(tmp_path, data, answer)
        assert given == ["C", "D", "C", "B", "D", "B"]  # the same draw every time
        scored = score_answers(get_task(MPC), given, self.GOLD)
        # Only the first B is right. B: 1 true positive, 1 false positive, 1 false negative. A and C: 0. D is no class.
        assert scored.accuracy == 1 / 6
        assert scored.macro_f1 == pytest.approx((0 + 2 / 4 + 0) / 3)

    async def test_a_predictor_that_answers_no_label(self, tmp_path: Path, data: Path) -> None:
        given = await self.answers(tmp_path, data, lambda instance: "I would rather not say")
        assert given == [None] * 6
        assert score_answers(get_task(MPC), given, self.GOLD).accuracy == 0


async def test_a_run_says_how_many_texts_were_cut_for_captioners_and_judges(tmp_path: Path) -> None:
    reviews = ["It came apart. " * 1000, "Fine."]
    records = [raw("sentiment_analysis", {"review": review}, "A", "mug-1.png") for review in reviews]
    report = await run(
        tmp_path, write_data(tmp_path, records), options={"treatments": ["none", "gated"]}, text_tokens=2048
    )
    assert report.notes == (
        "1 records have texts that were cut for captioners and judges, to fit into the context length of their models",
    )


async def test_a_run_says_how_many_records_have_one_option_only(tmp_path: Path) -> None:
    records = [
        raw("category_classification", {"title": "Mug"}, "A", options=json.dumps(options))
        for options in (["A: Mugs"], ["A: Mugs", "B: Lamps"])
    ]
    report = await run(tmp_path, write_data(tmp_path, records), options={"treatments": ["none"]})
    assert report.notes == ("1 records have only one option, so their answers are right by themselves",)


async def test_a_run_says_how_many_records_have_captions_that_no_judge_could_judge(tmp_path: Path) -> None:
    def judge(request: JudgeRequest) -> Verdict:
        if "slow" in request.context.focus:
            raise TimeoutError
        return "yes"

    data = write_data(tmp_path, [relevance(f"{speed} mug", "Mug", "A") for speed in ("slow", "fast", "very slow")])
    judges = [FunctionJudge(judge, name=name) for name in ("one", "two")]
    report = await run(tmp_path, data, judges=judges, options={"treatments": ["none", "gated"]})
    assert report.notes == ("2 records have captions that no judge could judge: one (timeout), two (timeout)",)


async def test_a_run_writes_its_description_and_every_outcome(tmp_path: Path) -> None:
    data = write_data(tmp_path, many(6))
    steps: list[tuple[str, int, int]] = []
    report = await run(
        tmp_path, data, options={"progress": lambda step, item, done, total: steps.append((step, done, total))}
    )
    assert (report.instances, report.resumed, report.bad, report.unavailable) == (6, 0, (), ())
    assert report.notes == ("2 records have no captions, so they lack the treatment 'given'",)
    assert steps == [("evaluating", number, 6) for number in range(1, 7)]
    outcomes = read_outcomes(tmp_path / "run")
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3, 4, 5]
    assert set(outcomes[0].treatments) == set(DEFAULT_TREATMENTS)
    facts = read_run_description(tmp_path / "run")
    assert (facts["data"], facts["instances"], facts["profile"]) == ("data.jsonl", 6, "light")
    assert facts["predictor"] == "light-predictor"
    assert facts["judges"] == [f"overlap-{least}" for least in (0.1, 0.7, 0.3, 0.5, 0.2)]
    assert facts["treatments"] == list(DEFAULT_TREATMENTS)


async def test_outcomes_do_not_depend_on_the_order_instances_finish_in(tmp_path: Path) -> None:
    data = write_data(tmp_path, many(12))
    await run(tmp_path, data, out="one", max_parallel_images=1, max_parallel_votes=1)
    (tmp_path / "store").rename(tmp_path / "used")
    light, started = light_captioner(), 0

    async def last_first(request: Any) -> Any:
        nonlocal started
        started += 1
        for _ in range(200 - 10 * started):  # the first calls take the longest
            await asyncio.sleep(0)
        return await light.ainvoke(request)

    await run(tmp_path, data, out="many", captioner=FunctionCaptioner(last_first, name=light.get_name()))
    assert light.calls > 12
    one, other = (read_outcomes(tmp_path / out) for out in ("one", "many"))
    assert comparable(one) == comparable(other)


async def test_several_instances_run_in_parallel_within_the_limit(tmp_path: Path) -> None:
    meet = asyncio.Barrier(3)

    async def caption(request: Any) -> str:
        async with asyncio.timeout(HANG_SECONDS):
            await meet.wait()
        return "A picture."

    captioner = FunctionCaptioner(caption)
    data = write_data(tmp_path, [relevance(f"q{n}", f"t{n}", "A") for n in range(6)])
    await run(tmp_path, data, captioner=captioner, options={"treatments": ["every"]}, max_parallel_images=3)
    assert captioner.peak == 3


async def test_bad_records_are_reported_by_index_and_the_others_are_evaluated(tmp_path: Path) -> None:
    good = relevance("q", "t", "A")
    records = [good, "no JSON", relevance("q2", "t", "Z"), good, relevance("q3", "t", "B"), {"task": "spelling"}]
    data = write_data(tmp_path, records)
    report = await run(tmp_path, data)
    assert [bad.index for bad in report.bad] == [1, 2, 3, 5]
    assert report.bad[1].reason.endswith("output 'Z' is not one of A, B, C, D")
    assert report.bad[2].reason == "equal to record 0"
    assert [outcome.index for outcome in read_outcomes(tmp_path / "run")] == [0, 4]
    assert len(read_run_description(tmp_path / "run")["bad"]) == 4


async def test_in_the_paper_format_a_record_without_its_own_texts_is_a_bad_record(tmp_path: Path) -> None:
    whole = many(4)
    bare = [whole[0] | {"instruction": ""}, whole[3] | {"options": "[]"}]
    data = write_data(tmp_path, [*bare, whole[1], whole[2]])
    options: dict[str, Any] = {"treatments": ["none"], "limit": 2}
    report = await run(tmp_path, data, wire_format="paper", options=options)
    assert report.instances == 2
    assert [bad.reason.partition(";")[0] for bad in report.bad] == [
        "multiclass_product_classification: missing instruction",
        "multiclass_product_classification: missing options",
    ]


async def test_strict_stops_at_a_bad_record_before_any_model_is_called(tmp_path: Path) -> None:
    captioner = light_captioner()
    data = write_data(tmp_path, [relevance("q", "t", "A"), relevance("q2", "t", "Z")])
    with pytest.raises(DataError, match=r"1 bad records; the first is record 1: .* not one of A, B, C, D"):
        await run(tmp_path, data, captioner=captioner, options={"strict": True})
    assert captioner.calls == 0
    assert not (tmp_path / "run").exists()


async def test_the_filters_select_the_records_to_evaluate(tmp_path: Path) -> None:
    data = write_data(tmp_path, [*many(9), relevance("q", "t", "A", split="train")])
    options = {"tasks": ["mpc"], "splits": ["test"], "limit": 2, "treatments": ["none", "every"]}
    report = await run(tmp_path, data, options=options)
    assert report.instances == 2
    outcomes = read_outcomes(tmp_path / "run")
    assert [(outcome.index, outcome.task, outcome.split) for outcome in outcomes] == [
        (0, MPC, "test"),
        (3, MPC, "test"),
    ]
    assert set(outcomes[0].treatments) == {"none", "every"}
    with pytest.raises(DataError, match="there are no records of task sentiment_analysis of split train"):
        await run(tmp_path, data, options={"tasks": ["sa"], "splits": ["train"]})
    with pytest.raises(InputError, match="the treatments are none, every, gated, text_first, plain, general"):
        await run(tmp_path, data, options={"treatments": ["none", "all"]})


async def test_images_that_were_fetched_before_are_used(tmp_path: Path) -> None:
    url = "https://shop.example/mug.png"
    data = write_data(tmp_path, [relevance("red mug", "Mug", "A", url)])
    content = (tmp_path / "mug-1.png").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    file = tmp_path / "images" / sha256[:2] / f"{sha256}.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    index = json.dumps({"url": url, "file": f"{sha256[:2]}/{file.name}"})
    (tmp_path / "images" / "index.jsonl").write_text(f"{index}\n", encoding="utf-8")
    await run(tmp_path, data, options={"treatments": ["every"], "images": tmp_path / "images"})
    (outcome,) = read_outcomes(tmp_path / "run")
    assert outcome.treatments["every"].captions[0].text.startswith(RED_MUG)


async def test_a_resumed_run_keeps_its_outcomes_and_drops_an_incomplete_line(tmp_path: Path) -> None:
    data = write_data(tmp_path, many(6))
    await run(tmp_path, data)
    path = tmp_path / "run" / "outcomes.jsonl"
    clean = read_outcomes(tmp_path / "run")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:-20])
    captioner = light_captioner()
    report = await run(tmp_path, data, captioner=captioner)
    assert (report.resumed, captioner.calls) == (3, 0)  # the captions are in the store
    assert path.read_bytes().startswith(b"".join(lines[:3]))
    assert comparable(read_outcomes(tmp_path / "run")) == comparable(clean)
    again = await run(tmp_path, data)
    assert again.resumed == 6
    assert len(path.read_bytes().splitlines()) == 6


async def test_captions_made_before_an_interruption_count_as_made_by_the_run(tmp_path: Path) -> None:
    def costs(folder: Path) -> list[tuple[int, int, int]]:
        return [
            (treated.cost.captioner_calls, treated.cost.cached_captions, treated.cost.prompt_tokens)
            for outcome in read_outcomes(folder)
            for treated in outcome.treatments.values()
        ]

    def describe(request: CaptionRequest) -> str:
        record_tokens(prompt=100, completion=10, cached=None)
        return f"A caption for {request.context.focus}."

    data = write_data(tmp_path, [relevance(f"q{n}", f"t{n}", "A") for n in range(3)])
    options = {"treatments": ["every"]}
    captioner = FunctionCaptioner(describe)
    down = predicting(raising(EndpointUnavailableError("down")))
    with pytest.raises(EndpointUnavailableError):
        await run(tmp_path, data, captioner=captioner, predictor=down, options=options)
    assert captioner.calls == 3
    await run(tmp_path, data, captioner=captioner, predictor=predicting(lambda instance: "A"), options=options)
    assert captioner.calls == 3
    assert costs(tmp_path / "run") == [(1, 0, 100)] * 3
    # Another run in the same store finds them there.
    await run(tmp_path, data, out="other", captioner=captioner, options=options)
    assert costs(tmp_path / "other") == [(0, 1, 0)] * 3


async def test_an_invalid_line_is_dropped_and_its_record_is_evaluated_again(tmp_path: Path) -> None:
    data = write_data(tmp_path, many(4))
    await run(tmp_path, data)
    path = tmp_path / "run" / "outcomes.jsonl"
    clean = read_outcomes(tmp_path / "run")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:-20] + lines[2] + lines[3])  # joins two lines into an invalid one
    report = await run(tmp_path, data)
    assert report.resumed == 2
    assert comparable(read_outcomes(tmp_path / "run")) == comparable(clean)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"treatments": ["none"]}, "treatments"),
        ({"limit": 3}, "limit None, now 3"),
        ({"splits": ["test"]}, "splits"),
    ],
)
async def test_a_run_with_other_data_models_or_settings_is_refused(
    tmp_path: Path, change: dict[str, Any], difference: str
) -> None:
    data = write_data(tmp_path, many(4))
    await run(tmp_path, data)
    before = (tmp_path / "run" / "outcomes.jsonl").read_bytes()
    with pytest.raises(InputError, match=f"with other data, models or settings .*{difference}.*choose another folder"):
        await run(tmp_path, data, options=change)
    with pytest.raises(InputError, match="predictor light-predictor, now predictor"):
        await run(tmp_path, data, predictor=predicting(lambda instance: "A"))
    with pytest.raises(InputError, match=r"\(settings\.wire_format corrected, now paper; settings\.quorum 3, now 1\)"):
        await run(tmp_path, data, wire_format="paper", quorum=1)
    write_data(tmp_path, [*many(3), relevance("q", "t", "A")])
    with pytest.raises(InputError, match="data_sha256"):
        await run(tmp_path, data)
    assert (tmp_path / "run" / "outcomes.jsonl").read_bytes() == before


async def test_a_model_may_move_to_another_server_but_its_settings_must_not_change(tmp_path: Path) -> None:
    data = write_data(tmp_path, many(1))
    options = {"treatments": ["none"]}
    async with FaultyServer() as server, FaultyServer() as other:
        settings = EndpointPredictorSettings(urls=(server.url,), model="model", prompt="chat")
        await run(tmp_path, data, predictor=build_predictor(settings), options=options)
        moved = settings.model_copy(
            update={"urls": (other.url,), "api_key": SecretStr("key"), "max_attempts": 7, "timeout_seconds": 9.0}
        )
        assert (await run(tmp_path, data, predictor=build_predictor(moved), options=options)).resumed == 1
        for change in ({"layout": "chatml"}, {"temperature": 1.0}, {"weights": "another"}):
            changed = build_predictor(settings.model_copy(update=change))
            with pytest.raises(InputError, match=r"\(models\.predictor [0-9a-f.]+, now [0-9a-f.]+\)"):
                await run(tmp_path, data, predictor=changed, options=options)


async def test_a_run_with_other_product_ids_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path, [relevance("q", "t", "A", products=json.dumps(["mug"]))])
    await run(tmp_path, data)
    write_data(tmp_path, [relevance("q", "t", "A", products=json.dumps(["jacket"]))])
    with pytest.raises(InputError, match="data_sha256"):
        await run(tmp_path, data)


async def test_a_run_of_an_older_version_is_refused_with_the_difference(tmp_path: Path) -> None:
    data = write_data(tmp_path, many(1))
    await run(tmp_path, data)
    described = tmp_path / "run" / "run.json"
    facts = json.loads(described.read_text("utf-8"))
    del facts["models"]
    facts["versions"]["caslie-tools"] = "0.0.1"
    described.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(InputError, match=r"\(versions\.caslie-tools 0\.0\.1, now "):
        await run(tmp_path, data)


async def test_a_failed_write_leaves_no_incomplete_line(tmp_path: Path) -> None:
    data = write_data(tmp_path, many(2))
    await run(tmp_path, data)
    path = tmp_path / "run" / "outcomes.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first)
    description = RunDescription.model_validate_json((tmp_path / "run" / "run.json").read_bytes())
    log, outcome = OutcomeLog(tmp_path / "run", description), Outcome.model_validate_json(second)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(first) + 20, limits[1]))  # as on a full disk
    try:
        with pytest.raises(DataError, match="cannot be written"):
            log.append(outcome)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == first
    assert outcome.key not in log.done
    log.append(outcome)
    assert path.read_bytes() == first + second


async def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path, many(2))
    await run(tmp_path, data)
    (tmp_path / "run" / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as the description of a run"):
        await run(tmp_path, data)
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(DataError, match=r"no run\.json"):
        await run(tmp_path, data)
    with pytest.raises(DataError, match="cannot be written"):
        await run(tmp_path, data, out="data.jsonl")


async def test_a_lone_surrogate_is_replaced(tmp_path: Path) -> None:
    data = write_data(tmp_path, [relevance("q", "t", "A")])
    await run(tmp_path, data, predictor=predicting(lambda instance: Answer(text="A: half \ud800")))
    (outcome,) = read_outcomes(tmp_path / "run")
    assert outcome.treatments["none"].text == "A: half ?"
    assert (await run(tmp_path, data, predictor=predicting(lambda instance: "A"))).resumed == 1


# Failures


async def test_a_failing_instance_is_wrong_and_the_others_are_evaluated(tmp_path: Path) -> None:
    def answer(instance: FusedInstance) -> str:
        assert isinstance(instance.input, dict)
        if instance.input["query"] == "q1":
            raise ValueError
        return "A"

    data = write_data(tmp_path, [relevance(f"q{n}", f"t{n}", "A") for n in range(3)])
    report = await run(tmp_path, data, predictor=predicting(answer), options={"treatments": ["none"]})
    assert report.unavailable == ()
    treated = [outcome.treatments["none"] for outcome in read_outcomes(tmp_path / "run")]
    assert [one.right for one in treated] == [True, False, True]
    assert [bool(one.error) for one in treated] == [False, True, False]


async def test_an_unreachable_endpoint_stops_the_run_which_can_be_resumed(tmp_path: Path) -> None:
    data = write_data(tmp_path, [relevance(f"q{n}", f"t{n}", "A") for n in range(3 * MAX_CONSECUTIVE_FAILURES)])
    options = {"treatments": ["none"]}
    async with FaultyServer() as server:
        settings = EndpointPredictorSettings(
            urls=(server.url,), model="model", prompt="chat", max_attempts=1, breaker_seconds=0.001
        )
        predictors = [build_predictor(settings), build_predictor(settings)]  # the second one like a new process
        server.faults = [Fault.HTTP_500] * 1000
        with pytest.raises(
            EndpointUnavailableError, match=r"model 'model' at 127\.0\.0\.1.*run the same command again to resume"
        ):
            await run(tmp_path, data, predictor=predictors[0], options=options)
        assert len(server.requests) <= 2 * MAX_CONSECUTIVE_FAILURES
        assert not (tmp_path / "run" / "outcomes.jsonl").exists()
        server.faults = []
        report = await run(tmp_path, data, predictor=predictors[1], options=options)
        assert (report.resumed, report.unavailable) == (0, ())
        for predictor in predictors:
            assert isinstance(predictor.model, EndpointLanguageModel)
            await predictor.model.endpoint.aclose()
    outcomes = read_outcomes(tmp_path / "run")
    assert len(outcomes) == 3 * MAX_CONSECUTIVE_FAILURES
    assert all(outcome.treatments["none"].cost.prompt_tokens > 0 for outcome in outcomes)


async def test_instances_with_an_unreachable_model_are_tried_again(tmp_path: Path) -> None:
    down = True

    def answer(instance: FusedInstance) -> str:
        assert isinstance(instance.input, dict)
        if down and instance.input["query"] in ("q1", "q3"):
            raise ConnectionError
        return "A"

    data = write_data(tmp_path, [relevance(f"q{n}", f"t{n}", "A") for n in range(5)])
    options = {"treatments": ["none"]}
    report = await run(tmp_path, data, predictor=predicting(answer), options=options)
    assert report.unavailable == (1, 3)
    assert [outcome.index for outcome in read_outcomes(tmp_path / "run")] == [0, 2, 4]
    down = False
    report = await run(tmp_path, data, predictor=predicting(answer), options=options)
    assert (report.resumed, report.unavailable) == (3, ())
    assert len(read_outcomes(tmp_path / "run")) == 5


async def test_a_model_that_never_answers_stops_the_run_without_outcomes(tmp_path: Path) -> None:
    data = write_data(tmp_path, [relevance(f"q{n}", f"t{n}", "A") for n in range(2 * MAX_CONSECUTIVE_FAILURES)])
    broken = predicting(raising(PermissionError("401")))
    none_answered = f"none of the first {MAX_CONSECUTIVE_FAILURES} instances could be answered.*PermissionError"
    with pytest.raises(ModelError, match=none_answered):
        await run(tmp_path, data, predictor=broken)
    assert not (tmp_path / "run" / "outcomes.jsonl").exists()


async def test_a_small_run_without_any_answer_has_no_outcomes(tmp_path: Path) -> None:
    data = write_data(tmp_path, [relevance("q", "t", "A"), raw("ap", {"question": "?", "document": "d"}, "yes")])
    with pytest.raises(ModelError, match=r"none of the first 2 instances could be answered.*ValueError"):
        await run(tmp_path, data, out="failing", predictor=predicting(raising(ValueError())))
    assert not (tmp_path / "failing" / "outcomes.jsonl").exists()
    with pytest.raises(EndpointUnavailableError, match="for 2 instances"):
        await run(tmp_path, data, out="absent", predictor=predicting(raising(ConnectionError())))


async def test_the_description_of_a_run_is_json_without_local_paths(tmp_path: Path) -> None:
    await run(tmp_path, write_data(tmp_path, many(1)))
    text = (tmp_path / "run" / "run.json").read_text(encoding="utf-8")
    assert json.loads(text)["versions"]["captioning prompt"]
    assert str(tmp_path) not in text
