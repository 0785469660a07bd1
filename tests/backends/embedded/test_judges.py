import dataclasses

import pytest

from caslie_tools.backends.embedded import MiniLMEmbeddings, embedded_jury
from caslie_tools.backends.embedded.judges import (
    AnswerKindJudge,
    GainJudge,
    NoveltyJudge,
    RelevanceJudge,
    StrengthJudge,
)
from caslie_tools.domain import Evidence, QueryContext, Vote
from caslie_tools.pipeline.cqe import CQE
from caslie_tools.roles.interfaces import JudgeRequest

BOTTLE = "title: Kelp drinking bottle\nmaterial: Tritan"


def request(question: str, caption: str, *texts: str, known: str = BOTTLE, score: float = 0.98) -> JudgeRequest:
    return JudgeRequest(
        context=QueryContext(task="product_qa", focus=question, known=known),
        caption=caption,
        evidence=tuple(Evidence(kind="text", text=text, score=score) for text in texts),
    )


HOLDS = "Which bottle holds 750 ml?"
FACT = request(HOLDS, 'It reads "KELP 750 ml".', "KELP 750 ml")


async def test_all_judges_keep_a_caption_with_the_answer(embeddings: MiniLMEmbeddings) -> None:
    decision = await CQE(embedded_jury(embeddings), early_stop=False).ainvoke(FACT)

    assert decision.kept
    assert [vote.verdict for vote in decision.votes] == ["yes"] * 5


@pytest.mark.parametrize(
    ("caption", "judged"),
    [
        ("another volume", request(HOLDS, 'It reads "REED 500 ml".', "REED 500 ml")),
        ("a placeholder", request(HOLDS, 'It reads "PHOTO COMING SOON".', "PHOTO COMING SOON")),
        ("no text", request(HOLDS, "No text seen.")),
        ("its own name", request(HOLDS, 'It reads "KELP".', "KELP")),
        ("another fact", request("Is it dishwasher safe?", 'It reads "400 LUMEN".', "400 LUMEN")),
        (
            "known information",
            request("What is it made of?", 'It reads "TRITAN".', "TRITAN", known=BOTTLE),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_unhelpful_caption_is_rejected(
    embeddings: MiniLMEmbeddings, caption: str, judged: JudgeRequest
) -> None:
    decision = await CQE(embedded_jury(embeddings)).ainvoke(judged)

    assert not decision.kept, (caption, decision)


async def test_a_caption_without_a_question_is_kept_only_with_evidence(embeddings: MiniLMEmbeddings) -> None:
    with_evidence = JudgeRequest(
        context=QueryContext(task="category_classification", aim="finding the category"),
        caption="It resembles Granny Smith (Fruit > Apple).",
        evidence=(Evidence(kind="resembles", text="Fruit > Apple", score=0.9),),
    )
    without_evidence = dataclasses.replace(with_evidence, caption="No text seen.", evidence=())
    jury = CQE(embedded_jury(embeddings))

    assert (await jury.ainvoke(with_evidence)).kept
    assert not (await jury.ainvoke(without_evidence)).kept


async def test_each_judge_explains_its_vote_and_is_deterministic(embeddings: MiniLMEmbeddings) -> None:
    for judge in embedded_jury(embeddings):
        vote = await judge.ainvoke(FACT)

        assert vote == await judge.ainvoke(FACT)
        assert vote.judge == judge.get_name()
        assert vote.probability is not None
        assert (vote.verdict == "yes") == (vote.probability >= 0.5)
        assert "at least" in vote.reason


def test_each_judge_has_a_different_name(embeddings: MiniLMEmbeddings) -> None:
    assert len({judge.get_name() for judge in embedded_jury(embeddings)}) == 5


def abstains(vote: Vote) -> bool:
    return vote.verdict == "abstain" and vote.probability is None


async def test_a_judge_that_cannot_measure_abstains(embeddings: MiniLMEmbeddings) -> None:
    general = JudgeRequest(context=QueryContext(task="any"), caption="A green bottle.")

    assert abstains(await RelevanceJudge(embeddings).ainvoke(general))
    assert abstains(await GainJudge(embeddings).ainvoke(general))
    assert abstains(await StrengthJudge(embeddings).ainvoke(dataclasses.replace(FACT, evidence=())))
    assert abstains(await AnswerKindJudge(embeddings).ainvoke(request("nice bottle", "A green bottle.")))


def test_novelty_is_the_share_of_new_content(embeddings: MiniLMEmbeddings) -> None:
    judge = NoveltyJudge(embeddings)

    assert judge.measure(request(HOLDS, 'It reads "KELP".', "KELP")) == 0
    assert judge.measure(FACT) == 0.5
    assert judge.measure(request(HOLDS, 'It reads "LEAKPROOF".', "LEAKPROOF")) == 1


def test_strength_includes_the_confidence_of_the_recogniser(embeddings: MiniLMEmbeddings) -> None:
    confident, uncertain = FACT, request(HOLDS, 'It reads "KELP 750 ml".', "KELP 750 ml", score=0.4)
    judge = StrengthJudge(embeddings)

    assert judge.measure(confident) == pytest.approx(0.98)
    assert judge.measure(uncertain) == pytest.approx(0.4)
    assert judge.measure(request(HOLDS, "x", "REED 500 ml")) == 0


def test_gain_counts_only_information_that_the_text_lacks(embeddings: MiniLMEmbeddings) -> None:
    judge = GainJudge(embeddings)

    assert judge.measure(FACT) is not None
    assert (judge.measure(FACT) or 0) > 0.3
    context = FACT.context.model_copy(update={"known": BOTTLE + "\nvolume: 750 ml\nuse: holds water"})
    assert judge.measure(dataclasses.replace(FACT, context=context)) == 0


def test_a_context_with_only_a_title_reaches_a_quorum(embeddings: MiniLMEmbeddings) -> None:
    """In tasks with only a title, the focus and the known text are equal. Their captions must still reach a quorum."""
    context = QueryContext(task="category_classification", focus="Kelp drinking bottle", known="Kelp drinking bottle")
    judged = JudgeRequest(
        context=context,
        caption="It resembles Reed drinking bottle (Kitchen > Bottles). It shows water bottle.",
        evidence=(
            Evidence(kind="resembles", text="Kitchen > Bottles", score=0.9),
            Evidence(kind="tag", text="water bottle", score=0.8),
        ),
    )
    decision = CQE(embedded_jury(embeddings)).invoke(judged)
    assert len(decision.votes) - decision.abstentions >= 3
    assert decision.kept
