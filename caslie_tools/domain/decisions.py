"""The votes of the judges, and the decision of the jury about a caption."""

from typing import Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from caslie_tools.domain.base import FrozenModel, Probability

Verdict = Literal["yes", "no", "abstain"]


JudgeFailure = Literal["unavailable", "timeout", "refused", "missing_dependency", "unsupported", "error"]
"""Why a judge could not vote: its server cannot be reached, it exceeded its time limit, its server refused the request,
an optional dependency is not installed, its model lacks an ability, or any other error."""


class Vote(FrozenModel):
    """One judge's answer to the question whether a caption helps."""

    judge: str
    verdict: Verdict
    probability: Probability | None = None
    """P(yes), if the judge reports one."""
    reason: str = ""
    signals: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Numbers behind the vote, by name, if the judge reports any."""
    failure: JudgeFailure | None = None
    """Why the judge could not vote. ``None`` for a judge that answered, also for one that answered neither yes nor
    no. A failed judge abstains."""

    @model_validator(mode="after")
    def _a_failed_judge_abstains(self) -> Self:
        if self.failure is not None and self.verdict != "abstain":
            raise ValueError("a judge that failed abstains")
        return self


class CheckedClaim(FrozenModel):
    """One claim of a caption, checked against the image."""

    text: str
    kept: bool
    """Whether the claim stays in the caption. A claim that could not be checked does."""
    vote: Vote
    """Whether the claim is true. An abstention says why it could not be checked."""


class EffectEstimate(FrozenModel):
    """The estimated probability of each effect of a caption on the answer. They sum to 1."""

    helpful: Probability
    """The answer is right only with the caption."""
    redundant: Probability
    """It is right with and without the caption."""
    misleading: Probability
    """It is right only without the caption."""
    ineffective: Probability
    """It is wrong with and without the caption."""


class GateDecision(FrozenModel):
    """The jury's (CQE's) decision about one caption."""

    kept: bool
    votes: tuple[Vote, ...] = ()
    """In the order of the jury, without the skipped judges."""
    margin: float = Field(default=0.0, ge=-1, le=1)
    """(yes - no) / valid votes. 0 if there are no valid votes."""
    abstentions: int = 0
    skipped_judges: int = 0
    """Number of judges that were not asked, because the decision did not depend on their votes."""
    quorum: int = Field(default=1, ge=1)
    """Number of valid votes that was needed to keep the caption."""
    reason: str = ""
    decided_by: Literal["jury", "judge", "person"] = "jury"
    """``judge``: by one judge of the jury that may decide alone."""
    one_vote_decides: bool | None = None
    """Whether one vote decided a tuned gate, or its quorum; or whether the judge that decided alone was undecided.
    ``None`` if the votes were counted."""
    signals: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Numbers about the caption itself, by name: see :func:`caslie_tools.pipeline.learned_gate.caption_signals`."""
    claims: tuple[CheckedClaim, ...] = ()
    """The claims of the caption, if they were checked. The decision is about those that were kept."""
    estimate: EffectEstimate | None = None
    """The estimate of a learned gate, if one decided."""

    @property
    def is_close(self) -> bool:
        """Whether one vote decided: a margin of at most one vote, or a quorum that was met or missed by one vote."""
        yes = sum(vote.verdict == "yes" for vote in self.votes)
        no = sum(vote.verdict == "no" for vote in self.votes)
        over_quorum = yes + no + self.skipped_judges - self.quorum
        if self.one_vote_decides is not None:
            return self.one_vote_decides
        if over_quorum < 0:
            return over_quorum == -1 and yes >= no
        return abs(yes - no) <= 1 or (over_quorum == 0 and yes > no)

    @property
    def jury_failed(self) -> bool:
        """Whether every judge that was asked failed, so that the decision rests on no vote at all."""
        return bool(self.votes) and all(vote.failure is not None for vote in self.votes)
