"""A/B: two inferences repeated side by side on one reserved card group. What is asked for, and in which order."""

import random
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from orchestrator.model.spec_words import SlotPattern, Strict
from orchestrator.model.suites import GateRule, MetricName

MOST_BLOCKS = 50

PROJECT = "ab"
"""The project charged for the slot time; the reservation lets in only its jobs."""

SideLetter = Literal["a", "b"]

ABBA: tuple[SideLetter, ...] = ("a", "b", "b", "a")
BAAB: tuple[SideLetter, ...] = ("b", "a", "a", "b")


def _of_a_host(slot: str) -> str:
    if "." not in slot:
        raise ValueError("name the host too: HOST.g3")
    return slot


SlotOfHost = Annotated[SlotPattern, AfterValidator(_of_a_host)]


class AbRequest(Strict):
    """Two jobs of kind infer, whose requests are repeated."""

    a: int = Field(ge=1, le=2**63 - 1, description="Number of a job: the first side, compared with.")
    b: int = Field(ge=1, le=2**63 - 1, description="Number of a job: the second side.")
    blocks: int = Field(default=5, ge=2, le=MOST_BLOCKS, description="Each has two runs of both sides.")
    order: Literal["abba", "random"] = Field(
        default="abba", description="random: each block is A B B A or B A A B. A linear drift cancels out in both."
    )
    slot: SlotOfHost | None = Field(
        default=None, description="HOST.g3. Default: the card group on which job `a` ran last."
    )
    gates: dict[MetricName, GateRule] = Field(
        default={},
        max_length=50,
        description="Metrics that are judged. Default: all of which it is known what is better.",
    )
    answers: Literal["unchanged", "not_worse", "report"] = "report"

    @model_validator(mode="after")
    def _two_sides(self) -> "AbRequest":
        if self.a == self.b:
            raise ValueError("a and b are the same job; to measure something against itself: tx81 suites run NAME --aa")
        return self


def order_of(blocks: int, order: Literal["abba", "random"], dice: random.Random) -> list[SideLetter]:
    """Which side each run belongs to."""
    chosen = [ABBA if order == "abba" else dice.choice((ABBA, BAAB)) for _ in range(blocks)]
    return [side for block in chosen for side in block]
