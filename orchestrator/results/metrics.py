"""The numbers of one run, each with the definition it was computed by.

Percentiles are linearly interpolated. A tail percentile is only given if the sample is large enough: by MLPerf's early
stopping (confidence 0.99, one request over the limit) a p90 needs 64 requests, a p95 130 and a p99 662; below that
only median and maximum are given.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.results.answers import GivenAnswer

LEAST_FOR_P90 = 64
LEAST_FOR_P95 = 130
LEAST_FOR_P99 = 662

DEFINITIONS = {
    "answers": ("answers", "answers/rows"),
    "exact_answers": ("answers", "exact_answers/characters"),
    "prompt_tokens": ("tokens", "prompt_tokens/sum"),
    "output_tokens": ("tokens", "output_tokens/sum"),
    "output_throughput": ("tokens/s", "output_throughput/process_wall"),
    "request_seconds": ("s", "request_seconds/tool"),
    "ttft_seconds": ("s", "ttft_seconds/tool"),
    "tpot_seconds": ("s", "tpot_seconds/after_first"),
}
"""Name → unit and definition id; a statistic (`_p50`, `_max` …) of a name shares its entry.

exact_answers      equal to the golden answer character for character; its count is that of the answers compared
output_throughput  sum of output tokens / wall seconds of the vendor process, loading of the model included
request_seconds    of one answer, by the tool's own clock
ttft_seconds       to the first token of one answer, by the tool's own clock
tpot_seconds       (request_seconds - ttft_seconds) / (output tokens - 1), of one answer of two tokens or more
"""

TOOL = "tool"
"""Token counter: the vendor's tool reported the numbers itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One number; `count` is the number of answers used, `counter` says which program counted the tokens."""

    name: str
    value: float
    unit: str
    definition: str
    count: int
    counter: str | None = None


def measure(
    answers: Sequence[GivenAnswer],
    exact: Sequence[bool | None],
    wall_seconds: float | None,
    output_counter: str | None = None,
) -> list[Measured]:
    """All metrics of a run; one for which an answer lacks a value is omitted, never guessed.

    `output_counter` counted the output tokens; the tool if it is None."""
    counters = {"prompt_tokens": TOOL, "output_tokens": output_counter or TOOL}
    found = compared(exact)
    for name in ("prompt_tokens", "output_tokens"):
        counts = _all(getattr(answer, name) for answer in answers)
        if counts:
            found.append(_number(name, sum(counts), len(counts), counters[name]))
            if name == "output_tokens" and wall_seconds:
                rate = sum(counts) / wall_seconds
                found.append(_number("output_throughput", rate, len(counts), counters[name]))
    found += _spread("request_seconds", _all(answer.seconds for answer in answers))
    found += _spread("ttft_seconds", _all(answer.ttft_seconds for answer in answers))
    found += _spread(
        "tpot_seconds", [value for answer in answers if (value := _tpot(answer)) is not None], counters["output_tokens"]
    )
    return found


def compared(exact: Sequence[bool | None]) -> list[Measured]:
    """The number of answers, and how many of those with a reference equal it."""
    known = [equal for equal in exact if equal is not None]
    equal = [_number("exact_answers", sum(known), len(known))] if known else []
    return [_number("answers", len(exact), len(exact)), *equal]


def percentile(values: Sequence[float], percent: float) -> float:
    """Linearly interpolated between the two nearest values; needs at least one."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _spread(name: str, values: Sequence[float], counter: str | None = None) -> list[Measured]:
    if not values:
        return []
    shown = {"p50": 50.0, "max": 100.0}
    if len(values) >= LEAST_FOR_P90:
        shown["p90"] = 90.0
    if len(values) >= LEAST_FOR_P99:
        shown["p99"] = 99.0
    return [
        _number(name, percentile(values, percent), len(values), counter, statistic=statistic)
        for statistic, percent in shown.items()
    ]


def _tpot(answer: GivenAnswer) -> float | None:
    if answer.seconds is None or answer.ttft_seconds is None or (answer.output_tokens or 0) < 2:
        return None
    assert answer.output_tokens is not None
    return (answer.seconds - answer.ttft_seconds) / (answer.output_tokens - 1)


def _all(values: Iterable[float | None]) -> list[float]:
    """The values if none is missing, else no values: a sum over some of them would look complete."""
    found = list(values)
    told = [value for value in found if value is not None]
    return told if len(told) == len(found) else []


def _number(name: str, value: float, count: int, counter: str | None = None, *, statistic: str = "") -> Measured:
    unit, definition = DEFINITIONS[name]
    full_name = f"{name}_{statistic}" if statistic else name
    return Measured(full_name, float(value), unit, definition, count, counter)
