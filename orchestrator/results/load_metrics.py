"""The numbers of a load on a server, each with the definition it was computed by. Pure.

Times are of the client's monotonic clock. Of one request: *sent*, when it was sent; *due*, when an open loop was to
send it (so that delays of the client are included); *first*, when the first text came; *last*, when the last piece
of the answer came. Requests that were not answered are counted, and not part of any other number.
"""

import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.model.client_specs import Goodput
from orchestrator.results.metrics import LEAST_FOR_P90, LEAST_FOR_P95, LEAST_FOR_P99, Measured, percentile

SERVER = "server"
"""Token counter: the server's own `usage`."""

MOST_GAPS = 1 << 17
"""Largest number of gaps between pieces used for percentiles: of more, a random sample of this size. Mean and maximum
use all gaps."""

DEFINITIONS = {
    "requests": ("requests", "requests/answered"),
    "failed_requests": ("requests", "failed_requests/not_answered_whole"),
    "prompt_tokens": ("tokens", "prompt_tokens/sum"),
    "output_tokens": ("tokens", "output_tokens/sum"),
    "ttft_seconds": ("s", "ttft_seconds/sent_to_first"),
    "request_seconds": ("s", "request_seconds/sent_to_last"),
    "tpot_seconds": ("s", "tpot_seconds/after_first"),
    "itl_seconds": ("s", "itl_seconds/between_pieces"),
    "late_seconds": ("s", "late_seconds/due_to_sent"),
    "load_seconds": ("s", "load_seconds/first_sent_to_last"),
    "request_throughput": ("requests/s", "request_throughput/load"),
    "output_throughput": ("tokens/s", "output_throughput/load"),
    "total_throughput": ("tokens/s", "total_throughput/load"),
    "goodput": ("requests/s", "goodput/all_limits/load"),
    "concurrency": ("requests", "concurrency/under_way"),
}
"""Name → unit and definition id; a statistic (`_mean`, `_p50`, `_p90`, `_p95`, `_p99`, `_max`) shares the entry.

ttft_seconds         sent to first; of an open loop, due to first (`FROM_DUE`)
request_seconds      sent to last; of an open loop, due to last
tpot_seconds         (last - first) / (output tokens - 1), of one answer of two tokens or more
itl_seconds          between two pieces with text, of all requests together; one piece may hold several tokens, so
                     this distinguishes servers no better than tpot_seconds does
late_seconds         due to sent, of an open loop: the delay of the client itself
load_seconds         from the first request sent to the last piece of any answer
*_throughput         requests answered, or tokens of their answers (total: and of their prompts) / load_seconds
goodput              requests answered within every limit / load_seconds; a limit on tpot_seconds is met by an answer
                     of one token
concurrency          requests that had been sent and not yet ended
"""

FROM_DUE = {
    "ttft_seconds": ("s", "ttft_seconds/due_to_first"),
    "request_seconds": ("s", "request_seconds/due_to_last"),
}
"""The definitions that differ in an open loop."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One answered request; times in seconds of one clock."""

    due: float | None
    sent: float
    first: float
    last: float
    gaps: Sequence[float] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def began(self) -> float:
        """The time from which its latencies are measured."""
        return self.sent if self.due is None else self.due

    @property
    def tpot(self) -> float | None:
        """Seconds per token after the first; None for an answer without a second one, or without a count."""
        if self.output_tokens is None or self.output_tokens < 2:
            return None
        return (self.last - self.first) / (self.output_tokens - 1)

    def within(self, limits: Goodput) -> bool | None:
        """Whether it met every limit; None if unknown."""
        if limits.tpot_seconds is not None and self.output_tokens is None:
            return None
        taken = (
            (limits.ttft_seconds, self.first - self.began),
            (limits.request_seconds, self.last - self.began),
            (limits.tpot_seconds, self.tpot or 0.0),
        )
        return all(limit is None or seconds <= limit for limit, seconds in taken)


class LoadStatistics:
    """Collects requests as they end; memory grows by a few numbers per request."""

    def __init__(self, goodput: Goodput | None = None, *, open_loop: bool = False) -> None:
        self._limits = goodput
        self._definitions = {**DEFINITIONS, **(FROM_DUE if open_loop else {})}
        self._answered = self._failed = self._peak = 0
        self._good: int | None = None if goodput is None else 0
        self._tokens: dict[str, int | None] = {"prompt_tokens": 0, "output_tokens": 0}
        spreads = ("ttft_seconds", "request_seconds", "tpot_seconds", "late_seconds")
        self._spreads = {name: array("d") for name in spreads}
        self._gaps = _Gaps()
        self._begun, self._ended = float("inf"), float("-inf")

    def sent(self, at: float, *, under_way: int) -> None:
        """One request was sent; `under_way` counts it."""
        self._begun = min(self._begun, at)
        self._peak = max(self._peak, under_way)

    def failed(self) -> None:
        """One request was not answered, or not completely."""
        self._failed += 1

    def answered(self, one: Timed) -> None:
        """One request was answered."""
        self._answered += 1
        self._ended = max(self._ended, one.last)
        self._spreads["ttft_seconds"].append(one.first - one.began)
        self._spreads["request_seconds"].append(one.last - one.began)
        if one.due is not None:
            self._spreads["late_seconds"].append(one.sent - one.due)
        if one.tpot is not None:
            self._spreads["tpot_seconds"].append(one.tpot)
        for gap in one.gaps:
            self._gaps.add(gap)
        for name, count in (("prompt_tokens", one.prompt_tokens), ("output_tokens", one.output_tokens)):
            known = self._tokens[name]
            # If one answer has no count, there is no sum: a partial sum would look complete.
            self._tokens[name] = None if known is None or count is None else known + count
        if self._limits is not None and self._good is not None:
            good = one.within(self._limits)
            self._good = None if good is None else self._good + good

    def measured(self) -> list[Measured]:
        """All metrics; one for which a value is missing is omitted."""
        answered, asked = self._answered, self._answered + self._failed
        found = [self._number("requests", answered, answered), self._number("failed_requests", self._failed, asked)]
        if not answered:
            return found
        found.append(self._number("concurrency_max", self._peak, asked))
        found += [self._number(name, sum_, answered, SERVER) for name, sum_ in self._tokens.items() if sum_ is not None]
        found += self._throughputs(self._ended - self._begun)
        for name, values in self._spreads.items():
            counter = SERVER if name == "tpot_seconds" else None
            found += self._statistics(name, _statistics(values, borne=len(values)), len(values), counter)
        # Gaps within one answer are similar, so the number of requests decides which percentiles are given.
        gaps = {**_statistics(self._gaps.sample, borne=answered), **self._gaps.of_all()}
        return found + self._statistics("itl_seconds", gaps, self._gaps.count)

    def _throughputs(self, seconds: float) -> list[Measured]:
        found = [self._number("load_seconds", seconds, self._answered)]
        if seconds <= 0:
            return found
        prompts, outputs = self._tokens["prompt_tokens"], self._tokens["output_tokens"]
        both = None if prompts is None or outputs is None else prompts + outputs
        found.append(self._number("request_throughput", self._answered / seconds, self._answered))
        for name, tokens in (("output_throughput", outputs), ("total_throughput", both)):
            if tokens is not None:
                found.append(self._number(name, tokens / seconds, self._answered, SERVER))
        if self._good is not None:
            found.append(self._number("goodput", self._good / seconds, self._answered + self._failed))
        return found

    def _statistics(
        self, name: str, values: Mapping[str, float], count: int, counter: str | None = None
    ) -> list[Measured]:
        return [self._number(f"{name}_{statistic}", value, count, counter) for statistic, value in values.items()]

    def _number(self, name: str, value: float, count: int, counter: str | None = None) -> Measured:
        unit, definition = self._definitions.get(name) or self._definitions[name.rpartition("_")[0]]
        return Measured(name, float(value), unit, definition, count, counter)


class _Gaps:
    """Any number of gaps in bounded memory: each is in the sample with the same probability."""

    def __init__(self) -> None:
        self.sample = array("d")
        self.count = 0
        self.total = 0.0
        self.longest = 0.0
        self._draw = random.Random(0)  # noqa: S311 - a sample, no secret

    def add(self, gap: float) -> None:
        self.count += 1
        self.total += gap
        self.longest = max(self.longest, gap)
        if len(self.sample) < MOST_GAPS:
            self.sample.append(gap)
            return
        place = self._draw.randrange(self.count)
        if place < MOST_GAPS:
            self.sample[place] = gap

    def of_all(self) -> dict[str, float]:
        """Values computed from all gaps, not only from the sample."""
        return {"mean": self.total / self.count, "max": self.longest} if self.count else {}


def _statistics(values: Sequence[float], *, borne: int) -> dict[str, float]:
    """Mean, median and maximum; higher percentiles only with enough requests."""
    if not values:
        return {}
    tails = {"p90": LEAST_FOR_P90, "p95": LEAST_FOR_P95, "p99": LEAST_FOR_P99}
    return {
        "mean": sum(values) / len(values),
        "p50": percentile(values, 50),
        **{name: percentile(values, float(name[1:])) for name, least in tails.items() if borne >= least},
        "max": max(values),
    }
