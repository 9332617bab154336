"""The cards of an attempt are measured while its tool runs, in one thread, and never at its cost.

A program that fails, hangs or prints something else leaves no sample. It is ended before the cards are probed again.
"""

import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from orchestrator.model.telemetry import Measure, Recorder, TelemetryRule, measured
from workers.processes.matching import search
from workers.processes.threads import Later

log = logging.getLogger(__name__)

FIRST = 3.0
"""Seconds after the start of the tool: a short run is not measured."""

_REST = 20.0
"""A pause lasts at least this number of times as long as the sample before it: 5 % of a processor at most."""

_SAID = 1 << 16
"""Bytes that are read of one call."""

_PATIENCE = 2.0


class Telemetry:
    """Samples these cards while the block lasts; `document` is what is stored."""

    def __init__(
        self, rule: TelemetryRule | None, cards: Sequence[int], words: Mapping[str, str], *, first: float = FIRST
    ) -> None:
        self._first = first
        self._rule = rule if cards else None
        self._cards = cards
        self._words = words
        self._recorder = Recorder()
        self._ended = threading.Event()
        self._began = 0.0
        self._thread: Later | None = None
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.document: dict[str, Any] | None = None

    @property
    def samples(self) -> int:
        """How many were taken so far."""
        return self._recorder.samples

    def __enter__(self) -> Self:
        if self._rule is not None:
            self._began = time.monotonic()
            self._thread = Later(min(self._first, self._rule.every), lambda: self._follow(self._rule))
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is None:
            return
        with self._lock:
            self._ended.set()
            if self._process is not None:
                self._process.kill()
        self._thread.call_off(_PATIENCE)
        self.document = self._recorder.document()

    def _follow(self, rule: TelemetryRule | None) -> None:
        assert rule is not None
        pause = 0.0
        try:
            environment = {name: self._filled(value, 0) for name, value in rule.environment.items()}
            program = shutil.which(self._filled(rule.argv[0], 0), path=environment.get("PATH", ""))
            while program is not None and not self._ended.wait(pause):
                at = time.monotonic()
                cards = {card: self._measure(rule, program, environment, card) for card in self._cards}
                spent = time.monotonic() - at
                if not self._ended.is_set():
                    self._recorder.add(at - self._began, cards, spent=spent)
                pause = max(rule.every - spent, _REST * spent)
        except Exception:
            log.warning("cards are not measured", exc_info=True)

    def _measure(
        self, rule: TelemetryRule, program: str, environment: Mapping[str, str], card: int
    ) -> dict[Measure, float]:
        said = self._said([program, *(self._filled(word, card) for word in rule.argv[1:])], environment, rule.seconds)
        for pattern in rule.patterns:
            if said and (found := search(pattern, said)) is not None:
                return measured(found.groups)
        return {}

    def _said(self, argv: Sequence[str], environment: Mapping[str, str], seconds: float) -> str:
        with self._lock:
            if self._ended.is_set():
                return ""
            process = self._process = subprocess.Popen(
                argv, env=dict(environment), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        with process:
            assert process.stdout is not None
            said = process.stdout.read(_SAID)
            if len(said) == _SAID:
                process.kill()
        timer.cancel()
        return said.decode("utf-8", "replace") if process.returncode == 0 else ""

    def _filled(self, text: str, card: int) -> str:
        for name, value in {**self._words, "card": str(card)}.items():
            text = text.replace(f"{{{name}}}", value)
        return text
