"""Outcome + what was printed → why the attempt failed, or that it did not. Pure.

A card that dies often looks like a tool that hangs or fails, so a fault signature in the output outranks every
failure but those that people and the log limit caused.
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.profile import FaultSignature
from workers.process import Outcome, StopReason

EVIDENCE_BYTES = 1 << 20
"""How much of the end of each log is searched for signatures."""

_REASON_LENGTH = 300
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Evidence:
    """The end of the attempt's log, and of the log files its tool wrote beside it."""

    log: str
    vendor_logs: tuple[str, ...] = ()

    def last_line(self) -> str:
        """The last line of the log that says anything, made fit to be shown; empty if there is none."""
        for line in reversed(self.log.splitlines()):
            shown = _ESCAPES.sub("", line).strip()
            if shown:
                return shown[:_REASON_LENGTH]
        return ""

    def match(self, signatures: Sequence[FaultSignature]) -> tuple[FaultSignature, str] | None:
        """The first signature that occurs, and the line it occurs in."""
        for text in (self.log, *self.vendor_logs):
            for known in signatures:
                found = re.search(known.pattern, text)
                if found is not None:
                    start = text.rfind("\n", 0, found.start()) + 1
                    line = text[start:].partition("\n")[0]
                    return known, _ESCAPES.sub("", line).strip()[:_REASON_LENGTH]
        return None


@dataclass(frozen=True)
class Clocks:
    """The limits the attempt ran under, as a person set them."""

    run_seconds: int
    silence_seconds: int
    log_bytes: int


def failure_of_run(
    outcome: Outcome, evidence: Evidence, signatures: Sequence[FaultSignature], clocks: Clocks
) -> Failure | None:
    """Why the run itself failed; None if the tool says it did its work, which is still to be checked."""
    ending = {"exit_code": outcome.exit_code, "signal": outcome.signal}
    match outcome.stopped:
        case StopReason.CANCELLED:
            return Failure(kind=FailureKind.CANCELLED, reason="cancelled on request", **ending)
        case StopReason.LOG_LIMIT:
            reason = f"it printed more than the {clocks.log_bytes} bytes a log may hold"
            return Failure(kind=FailureKind.LOG_LIMIT, reason=reason, **ending)
        case None if outcome.launch_error is not None:
            return Failure(kind=FailureKind.FAULT, reason=outcome.launch_error)
        case None if outcome.exit_code == 0:
            return None
    if (fault := _fault(evidence, signatures, ending)) is not None:
        return fault
    match outcome.stopped:
        case StopReason.RUN_LIMIT:
            reason = f"it ran longer than its run limit of {clocks.run_seconds} s"
            return Failure(kind=FailureKind.RUN_LIMIT, reason=reason, **ending)
        case StopReason.SILENCE:
            reason = f"it printed nothing for {clocks.silence_seconds} s"
            return Failure(kind=FailureKind.SILENCE, reason=reason, **ending)
    return Failure(kind=FailureKind.TOOL, reason=_told(outcome, evidence), **ending)


def failure_of_results(
    problems: Sequence[str], evidence: Evidence, signatures: Sequence[FaultSignature]
) -> Failure | None:
    """Why a run that says success is none: `problems` are what is missing; no problem is no failure."""
    if not problems:
        return None
    ending = {"exit_code": 0, "signal": None}
    fault = _fault(evidence, signatures, ending)
    return fault or Failure(kind=FailureKind.OUTPUT_MISSING, reason="; ".join(problems), exit_code=0)


def _fault(
    evidence: Evidence, signatures: Sequence[FaultSignature], ending: dict[str, int | None]
) -> Failure | None:
    matched = evidence.match(signatures)
    if matched is None:
        return None
    signature, line = matched
    return Failure(kind=FailureKind.FAULT, reason=line, signature=signature.name, **ending)


def _told(outcome: Outcome, evidence: Evidence) -> str:
    if outcome.signal is not None:
        how = f"killed by {signal.Signals(outcome.signal).name}"
    else:
        how = f"exit code {outcome.exit_code}"
    last = evidence.last_line()
    return f"{last} ({how})" if last else f"{how}, and it printed nothing"
