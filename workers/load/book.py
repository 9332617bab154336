"""The outputs of a load: answers, the times of every request, and the metrics; written continuously."""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from orchestrator.model.client_specs import Goodput
from orchestrator.results.load_metrics import DEFINITIONS, FROM_DUE, LoadStatistics, Timed
from orchestrator.results.metrics import Measured
from workers.load.arrivals import Ask
from workers.load.replies import Heard, Unanswered

ANSWERS, TIMES, METRICS = "answers.jsonl", "times.jsonl", "metrics.json"

_MOST_BYTES = 1 << 20
"""Of the file of numbers, which a hundred of them do not fill by far."""

_KNOWN = {definition for _, definition in (*DEFINITIONS.values(), *FROM_DUE.values())}


class BadMetrics(Exception):
    """The file of numbers is not there, or not one of ours."""


class Book:
    """Takes requests in the order in which they end. Answers that failed are in the times alone."""

    def __init__(self, folder: Path, *, goodput: Goodput | None, open_loop: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files = ExitStack()
        self._began = 0.0
        self.statistics = LoadStatistics(goodput, open_loop=open_loop)
        self.failed: Counter[str] = Counter()
        self.answered = 0

    def __enter__(self) -> Self:
        self._answers, self._times = (
            self._files.enter_context((self._folder / name).open("w", encoding="utf-8", errors="replace"))
            for name in (ANSWERS, TIMES)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def start(self, at: float) -> None:
        """The moment from which times are counted."""
        self._began = at

    def heard(self, ask: Ask, question: str, heard: Heard, due: float | None) -> None:
        """One answer."""
        self.answered += 1
        one = Timed(due, heard.sent, heard.first, heard.last, heard.gaps, heard.prompt_tokens, heard.output_tokens)
        self.statistics.answered(one)
        tokens = {"prompt_tokens": heard.prompt_tokens, "output_tokens": heard.output_tokens}
        row = {
            "round": ask.repeat, "question_index": ask.index, "question": question, "response": heard.text, **tokens,
            "seconds": _short(one.last - one.began), "ttft_seconds": _short(one.first - one.began),
            "finish_reason": heard.finish_reason, **({"reasoning": heard.reasoning} if heard.reasoning else {}),
        }  # fmt: skip
        _write(self._answers, row)
        moments = {"sent": heard.sent, "first": heard.first, "last": heard.last}
        times = {name: self._since_start(at) for name, at in moments.items()}
        _write(self._times, {**self._about(ask, due), **times, "gaps": [_short(gap) for gap in heard.gaps], **tokens})

    def lost(self, ask: Ask, why: Unanswered, due: float | None, at: float) -> None:
        """One request that was not answered to its end."""
        self.failed[why.sort] += 1
        self.statistics.failed()
        ended = {"failed": why.sort, "told": str(why), "ended": self._since_start(at)}
        _write(self._times, {**self._about(ask, due), **ended})

    def sum_up(self) -> list[Measured]:
        """Write the numbers, and return them."""
        numbers = self.statistics.measured()
        document = {"metrics": [asdict(number) for number in numbers], "failed": dict(self.failed)}
        (self._folder / METRICS).write_text(json.dumps(document, indent=1), "utf-8")
        return numbers

    def _about(self, ask: Ask, due: float | None) -> Mapping[str, Any]:
        told = {} if due is None else {"due": self._since_start(due)}
        return {"request": ask.number, "question_index": ask.index, "round": ask.repeat, **told}

    def _since_start(self, at: float) -> float:
        return _short(at - self._began)


def read_metrics(folder: Path) -> list[Measured]:
    """The numbers as `Book.sum_up` wrote them; BadMetrics if they are not."""
    path = folder / METRICS
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadMetrics(f"{METRICS} has more than {_MOST_BYTES} bytes")
        found = [Measured(**number) for number in json.loads(path.read_bytes())["metrics"]]
    except OSError as error:
        raise BadMetrics(f"no {METRICS}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise BadMetrics(f"{METRICS} is not what the load client writes") from None
    if strangers := [number.definition for number in found if number.definition not in _KNOWN]:
        raise BadMetrics(f"{METRICS} has a metric without a definition: {strangers[0]}")
    return found


def _write(file: IO[str], row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _short(seconds: float) -> float:
    return round(seconds, 6)
