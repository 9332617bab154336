"""What is asked when: the order of prompts and the times of sending. Pure, and the same for the same seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: its number, which prompt, and for which time this one (from 1); all but that from 0."""

    number: int
    index: int
    repeat: int


def asks(prompts: int, total: int, *, seed: int | None = None) -> Iterator[Ask]:
    """So many requests over the prompts, which are used up before one comes again.

    In their order, or with a seed in a new random order for each round: each prompt is asked equally often, up to one.
    """
    draw = None if seed is None else random.Random(f"prompts {seed}")  # noqa: S311 - reproducible, no secret
    order = list(range(prompts))
    for number in range(total):
        repeat, place = divmod(number, prompts)
        if place == 0 and draw is not None:
            draw.shuffle(order)
        yield Ask(number, order[place], repeat + 1)


def poisson(rate: float, *, seed: int) -> Iterator[float]:
    """Seconds from the start at which requests are due, the first at once: a Poisson process of this rate."""
    draw = random.Random(f"arrivals {seed}")  # noqa: S311 - reproducible, no secret
    due = 0.0
    while True:
        yield due
        due += draw.expovariate(rate)
