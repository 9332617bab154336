"""Whether the answers of a run are what its job requires. Pure."""

from collections.abc import Callable, Sequence
from functools import partial

from orchestrator.model.requirements import FinalAnswer, Require, Similarity
from orchestrator.results.answers import CheckedAnswer
from orchestrator.results.texts import edit_similarity, final_answer

MOST_NAMED = 3
"""Prompts that a reason names."""

MOST_SHOWN = 40
"""Characters of a prompt that a reason shows."""

_Meets = Callable[[str, str], bool]


def missed(answers: Sequence[CheckedAnswer], require: Require) -> str | None:
    """Why the answers are not what is required, in one line with the first prompts; None if they are.

    Answers without a golden one cannot be what is required; if that is all of them, the golden is of other prompts."""
    judged = [(answer, answer.golden) for answer in answers if answer.golden is not None]
    if not judged:
        return f"none of the {len(answers)} answers has a golden answer: the golden is of other prompts"
    meets, wanted = _rule(require)
    # Repeats and lanes say the same again and again: each pair of texts is compared once.
    known = {pair: meets(*pair) for pair in {(golden, answer.given.text) for answer, golden in judged}}
    wrong = [answer for answer, golden in judged if not known[golden, answer.given.text]]
    without = [answer for answer in answers if answer.golden is None]
    found = [(wrong, len(judged), wanted), (without, len(answers), "have no golden answer")]
    return (
        "; ".join(f"{len(some)} of {of} answers {what}: {_prompts(some)}" for some, of, what in found if some) or None
    )


def _rule(require: Require) -> tuple[_Meets, str]:
    """What is asked of a golden answer and a given one, and what is said where it is not so."""
    match require:
        case Similarity(similarity=least):
            return partial(_alike, least=least), f"are less than {least:g} similar to the golden answers"
        case FinalAnswer():
            return _same_end, "do not end as the golden answers do after their thoughts"
        case _:
            return str.__eq__, "are not the golden answers"


def _alike(golden: str, text: str, *, least: float) -> bool:
    """Of very long texts the similarity is a lower bound: what is not known to be similar enough is not."""
    return edit_similarity(golden, text)[0] >= least


def _same_end(golden: str, text: str) -> bool:
    return final_answer(golden) == final_answer(text)


def _prompts(wrong: Sequence[CheckedAnswer]) -> str:
    """The first prompts with a wrong answer, each once, and how many more there are."""
    asked = list(dict.fromkeys((answer.given.index, " ".join(answer.given.question.split())) for answer in wrong))
    named = [f"prompt {index} {_short(question)}" for index, question in asked[:MOST_NAMED]]
    more = len(asked) - len(named)
    return ", ".join(named) + (f" and {more} more prompt{'s' if more > 1 else ''}" if more else "")


def _short(text: str) -> str:
    return f"“{text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + '…'}”"
