"""Checks a caption claim by claim against the image, and removes the claims that are false.

A caption with one false claim may still help. Without this check, the jury can only keep or reject the whole caption.
A claim is a sentence of the caption. A claim that could not be checked is not removed.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from langchain_core.runnables import RunnableConfig

from caslie_tools._concurrency import ConcurrencyLimit
from caslie_tools.domain import Caption, CheckedClaim, Vote
from caslie_tools.exceptions import InputError
from caslie_tools.pipeline.failed_votes import failed_vote
from caslie_tools.roles.interfaces import Judge, JudgeRequest

# A quotation is not split: it is printed text. Languages without spaces end a sentence with a wide mark.
_QUOTATION: Final = re.compile(r'"[^"]*"|“[^”]*”')
_WIDE_MARKS: Final = "\u3002\uff01\uff1f"
_SENTENCE_END: Final = re.compile(rf"[.!?](?=\s)|[{_WIDE_MARKS}]")
_MIN_WORDS: Final = 2


def split_claims(text: str) -> list[str]:
    """Splits a caption into its claims, which are sentences.

    A part of one word, such as the abbreviation "No.", is no claim of its own: it belongs to the next part.
    """
    quoted = [match.span() for match in _QUOTATION.finditer(text)]
    claims, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        end = match.end()
        inside = any(first < end < last for first, last in quoted)
        following = text[end:].lstrip()[:1]
        wide = match.group() in _WIDE_MARKS
        if inside or following.islower() or (not wide and len(text[start:end].split()) < _MIN_WORDS):
            continue
        claims.append(text[start:end].strip())
        start = end
    return [claim for claim in (*claims, text[start:].strip()) if claim]


def without_false_claims(caption: Caption, claims: Sequence[CheckedClaim]) -> Caption:
    """Returns a caption without its false claims, and without the evidence that only they name."""
    if all(claim.kept for claim in claims):
        return caption
    kept = " ".join(claim.text for claim in claims if claim.kept)
    removed = " ".join(claim.text for claim in claims if not claim.kept).casefold()
    evidence = tuple(
        one for one in caption.evidence if one.text.casefold() in kept.casefold() or one.text.casefold() not in removed
    )
    return caption.model_copy(update={"text": kept, "evidence": evidence})


class ClaimChecker:
    """Asks a judge that sees the image whether each claim of a caption is true.

    Args:
        judge: Votes yes on a caption that is true to the image, such as a
            :class:`~caslie_tools.roles.judge.ModelJudge` with ``sees_image=True``.
        threshold: The minimum probability of a claim that is kept. A vote without a probability counts as 0 or 1.
        max_concurrency: Number of claims that are checked at the same time, over all captions.
        timeout_seconds: Time limit for one claim.

    Raises:
        InputError: If the threshold is not between 0 and 1.
    """

    def __init__(
        self, judge: Judge, *, threshold: float = 0.5, max_concurrency: int = 16, timeout_seconds: float = 30.0
    ) -> None:
        if not 0 <= threshold <= 1:
            raise InputError(f"the threshold of claims must be between 0 and 1; it is {threshold}")
        self.judge = judge
        self.threshold = threshold
        self.timeout_seconds = timeout_seconds
        self._limit = ConcurrencyLimit(max_concurrency)

    async def check(self, request: JudgeRequest, config: RunnableConfig | None = None) -> tuple[CheckedClaim, ...]:
        """Checks each claim of the caption of a request. A failure of the judge does not fail the check."""
        claims = split_claims(request.caption)
        votes = await asyncio.gather(*(self._vote(replace(request, caption=claim), config) for claim in claims))
        return tuple(
            CheckedClaim(text=claim, kept=self._keeps(vote), vote=vote)
            for claim, vote in zip(claims, votes, strict=True)
        )

    def _keeps(self, vote: Vote) -> bool:
        if vote.verdict == "abstain":
            return True
        return (float(vote.verdict == "yes") if vote.probability is None else vote.probability) >= self.threshold

    async def _vote(self, request: JudgeRequest, config: RunnableConfig | None) -> Vote:
        try:
            async with self._limit(), asyncio.timeout(self.timeout_seconds):
                vote = await self.judge.ainvoke(request, config)
            return vote.model_copy(update={"judge": self.judge.get_name()})
        except Exception as error:  # noqa: BLE001 (a claim that cannot be checked is kept)
            return failed_vote(self.judge.get_name(), error)
