"""How far two answers differ, as text. Pure.

No number here decides anything: whether an answer changed is decided character by character. Two answers are compared
as code points, the baseline's (`before`) and the other's (`after`). Long texts are bounded, and the result says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

MOST_COMPARED = 20_000
"""Characters of each text, between their common beginning and end, whose edit similarity is computed: 60 ms of Chinese.
Of what is longer, only so many characters are compared, and the similarity is a lower bound."""

MOST_SCORED = 20_000
"""Characters of each text up to which chrF and BLEU are computed: a quarter of a second for two of that length."""

MOST_ALIGNED = 4_000
"""Characters of each text, between their common beginning and end, that are aligned: 2 MB and 10 ms."""

_CHANCE = 2
"""Equal letters between two changes that are no sign of a common passage."""

THOUGHT_ENDS = "</think>"


@dataclass(frozen=True)
class TextChange:
    """How `after` differs from `before`."""

    exact: bool
    """Equal, character by character."""
    first_character: int | None
    """Index, from 0, of the first code point that differs; the length of the shorter text if it begins the longer."""
    similarity: float | None
    """Edit similarity (Indel): 2 × longest common subsequence / sum of the lengths, from 0 to 1."""
    chrf: float | None
    """chrF2 (sacreBLEU), from 0 to 100."""
    bleu: float | None
    """BLEU of one sentence with the tokenizer `zh` (sacreBLEU), from 0 to 100."""
    length_ratio: float | None
    """Characters after / before; None if there was none."""
    final_equal: bool | None
    """Whether what follows the last `</think>` is equal; None if neither has one."""
    first_token: int | None = None
    """As `first_character`, of the model's own tokens; None without its tokenizer, or where the tokens are equal."""
    bounded: tuple[str, ...] = ()
    """What was not computed as a whole: `similarity` is then a lower bound or None, `chrf` and `bleu` are None."""


def change(before: str, after: str, *, aligned: bool = True, scored: bool = True) -> TextChange:
    """Compare two answers; without `aligned` the similarity, without `scored` chrF and BLEU are left out as bounded."""
    similarity, whole = edit_similarity(before, after) if aligned else (None, False)
    scored = scored and max(len(before), len(after)) <= MOST_SCORED
    thought = THOUGHT_ENDS in before or THOUGHT_ENDS in after
    return TextChange(
        exact=before == after,
        first_character=first_difference(before, after),
        similarity=similarity,
        chrf=_score(_chrf(), before, after) if scored else None,
        bleu=_score(_bleu(), before, after) if scored else None,
        length_ratio=len(after) / len(before) if before else None,
        final_equal=final_answer(before) == final_answer(after) if thought else None,
        bounded=(*(() if whole else ("similarity",)), *(() if scored else ("chrf", "bleu"))),
    )


def final_answer(text: str) -> str:
    """What follows the last `</think>`, without the space around it; the whole text if there is none."""
    return text.rpartition(THOUGHT_ENDS)[2].strip()


def first_difference(before: Sequence[Any], after: Sequence[Any]) -> int | None:
    """Index of the first element that differs; None if there is none."""
    if before == after:
        return None
    low, high = 0, min(len(before), len(after))
    while low < high:  # Slices are compared in C: a million characters take a millisecond.
        middle = (low + high + 1) // 2
        low, high = (middle, high) if before[low:middle] == after[low:middle] else (low, middle - 1)
    return low


def edit_similarity(before: str, after: str) -> tuple[float, bool]:
    """The similarity from 0 to 1, and whether the whole texts were compared; otherwise it is a lower bound."""
    from rapidfuzz.distance import LCSseq

    start = first_difference(before, after)
    if start is None:
        return 1.0, True
    before_end, after_end = before[start:], after[start:]
    common = first_difference(before_end[::-1], after_end[::-1])
    assert common is not None, "they differ at their first characters"
    left, right = before_end[: len(before_end) - common], after_end[: len(after_end) - common]
    matched = LCSseq.similarity(left[:MOST_COMPARED], right[:MOST_COMPARED])
    whole = max(len(left), len(right)) <= MOST_COMPARED
    return 2 * (start + common + matched) / (len(before) + len(after)), whole


@dataclass(frozen=True)
class Stretch:
    """A run of characters of two texts: equal in both, or what stands in each at the same place."""

    before: str
    after: str

    @property
    def equal(self) -> bool:
        """Whether both have it."""
        return self.before == self.after


def parts(before: str, after: str) -> list[Stretch]:
    """Two texts character by character, as runs that are equal or not; joined they give both texts.

    One or two equal letters between changes count as changed: chance has them equal. A Chinese character is a word, and
    stays. Of texts that differ over more than `MOST_ALIGNED` characters, what differs is one run."""
    from rapidfuzz.distance import LCSseq

    start = first_difference(before, after)
    if start is None:
        return [Stretch(before, after)] if before else []
    end = first_difference(before[start:][::-1], after[start:][::-1]) or 0
    left, right = before[start : len(before) - end], after[start : len(after) - end]
    found = [Stretch(before[:start], before[:start])]
    if max(len(left), len(right)) > MOST_ALIGNED:
        found.append(Stretch(left, right))
    else:
        for step in LCSseq.opcodes(left, right):
            _join(found, Stretch(left[step.src_start : step.src_end], right[step.dest_start : step.dest_end]))
    _join(found, Stretch(before[len(before) - end :], after[len(after) - end :]))
    return [part for part in found if part.before or part.after]


def _join(found: list[Stretch], part: Stretch) -> None:
    """Append a run; a change, and a short equal run before it, become one with the change before them."""
    if not part.equal and len(found) > 1:
        equal = found[-1].before
        if found[-1].equal and len(equal) <= _CHANCE and equal.isascii() and len(found) > 2:
            chance, change = found.pop(), found.pop()
            found.append(Stretch(change.before + chance.before + part.before, change.after + chance.after + part.after))
            return
        if not found[-1].equal:
            change = found.pop()
            part = Stretch(change.before + part.before, change.after + part.after)
    found.append(part)


def signatures() -> dict[str, str]:
    """How chrF and BLEU are computed, as sacreBLEU writes it: scores of other signatures are not comparable."""
    scores = {}
    for name, metric in (("chrf", _chrf()), ("bleu", _bleu())):
        metric.sentence_score("a", ["a"])  # it knows the number of references only then
        scores[name] = str(metric.get_signature())
    return scores


def _score(metric: Any, before: str, after: str) -> float:
    # A text without characters has no n-grams, and an equal one none that differ.
    return 100.0 if before == after else float(metric.sentence_score(after, [before]).score)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize="zh", effective_order=True)
