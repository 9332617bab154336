"""Outcome and output of a tool → the failure of the attempt, or None. Nothing else is used.

A card that dies often looks like a tool that hangs or fails, so a fault signature in the output outranks every
failure but those that people and the log limit caused.
"""

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.profile import FaultSignature
from orchestrator.model.requirements import Require
from orchestrator.model.suspects import COUNTED
from orchestrator.results.answers import CheckedAnswer
from orchestrator.results.requirements import missed
from workers.processes.matching import search
from workers.processes.process import Outcome, StopReason

EVIDENCE_BYTES = 1 << 20
"""Bytes at the end of each log that are searched for signatures."""

_REASON_LENGTH = 300
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Evidence:
    """The end of the attempt's log, and of the other log files of its tool; the kernel log of that time."""

    log: str
    vendor_logs: tuple[str, ...] = ()
    kernel: tuple[str, ...] = ()
    cards: frozenset[int] = frozenset()
    """The cards of the attempt."""
    exit_code: int | None = None
    was_ready: bool | None = None
    """For a server, whether it was ready; None for every other tool."""

    def last_line(self) -> str:
        """The last line of the log that is not blank, without escape sequences; empty if there is none."""
        for line in reversed(self.log.splitlines()):
            shown = _ESCAPES.sub("", line).strip()
            if shown:
                return shown[:_REASON_LENGTH]
        return ""

    def match(self, signatures: Sequence[FaultSignature]) -> tuple[FaultSignature, str] | None:
        """The first signature found, and its line: logs are searched first, then the kernel log, then exit codes."""
        logs = [partial(_line_in, text) for text in (self.log, *self.vendor_logs)]
        looks: list[Callable[[FaultSignature], str | None]] = [*logs, self._said_by_kernel, self._code]
        for look in looks:
            for known in signatures:
                line = look(known)
                if line is not None:
                    return known, _ESCAPES.sub("", line).strip()[:_REASON_LENGTH]
        return None

    def _said_by_kernel(self, known: FaultSignature) -> str | None:
        if known.source != "kernel" or known.pattern is None:
            return None
        for line in self.kernel:
            found = search(known.pattern, line)
            if found is not None and found.groups["card"] in {str(card) for card in self.cards}:
                return line
        return None

    def _code(self, known: FaultSignature) -> str | None:
        return f"exit code {self.exit_code} means {known.name}" if self.exit_code in known.exit_codes else None


def _line_in(text: str, known: FaultSignature) -> str | None:
    """The line of a log that matches a signature."""
    if known.source != "output" or known.pattern is None:
        return None
    found = search(known.pattern, text)
    return None if found is None else text[text.rfind("\n", 0, found.start) + 1 :].partition("\n")[0]


@dataclass(frozen=True)
class Clocks:
    """The limits of the attempt, as set by its user."""

    run_seconds: int
    silence_seconds: int
    log_bytes: int
    total_first: bool = False
    """The job's total deadline came before the attempt's run limit."""


def failure_of_run(
    outcome: Outcome, evidence: Evidence, signatures: Sequence[FaultSignature], clocks: Clocks
) -> Failure | None:
    """Why the run itself failed; None if the tool reports success, which is still to be checked.

    A server succeeds when it was stopped; one that ends by itself has failed, whatever its exit code.
    """
    match outcome.stopped:
        case StopReason.STOPPED if evidence.was_ready:
            return None
        case StopReason.STOPPED:
            return _failure(FailureKind.CANCELLED, "stopped before it was ready", outcome)
        case StopReason.CANCELLED:
            return _failure(FailureKind.CANCELLED, "cancelled on request", outcome)
        case StopReason.LOG_LIMIT:
            reason = f"it printed more than the log limit of {clocks.log_bytes} bytes"
            return _failure(FailureKind.LOG_LIMIT, reason, outcome)
        case None if outcome.launch_error is not None:
            return _failure(FailureKind.FAULT, outcome.launch_error, outcome)
        case None if outcome.exit_code == 0 and evidence.was_ready is None:
            return None
    if (fault := _fault(evidence, signatures, outcome)) is not None:
        return fault
    match outcome.stopped:
        case StopReason.RUN_LIMIT if clocks.total_first:
            return _failure(FailureKind.TOTAL_DEADLINE, "it had not finished by its total deadline", outcome)
        case StopReason.RUN_LIMIT:
            reason = f"it ran longer than its run limit of {clocks.run_seconds} s"
            return _failure(FailureKind.RUN_LIMIT, reason, outcome)
        case StopReason.SILENCE:
            return _failure(FailureKind.SILENCE, f"it printed nothing for {clocks.silence_seconds} s", outcome)
        case StopReason.NOT_READY:
            reason = f"it was not ready in time; its last line: {evidence.last_line() or 'nothing'}"
            return _failure(FailureKind.TOOL, reason, outcome)
    how = _how_it_ended(outcome, evidence)
    by_itself = how if evidence.was_ready is None else f"the server ended by itself: {how}"
    return _failure(FailureKind.TOOL, by_itself, outcome)


def failure_of_results(
    problems: Sequence[str], outcome: Outcome, evidence: Evidence, signatures: Sequence[FaultSignature]
) -> Failure | None:
    """Why a run that reports success has failed: `problems` list what is missing; without problems, None."""
    if not problems:
        return None
    missing = _failure(FailureKind.OUTPUT_MISSING, "; ".join(problems), outcome)
    return _fault(evidence, signatures, outcome) or missing


def failure_of_answers(
    answers: Sequence[CheckedAnswer],
    require: Require | None,
    outcome: Outcome,
    evidence: Evidence,
    signatures: Sequence[FaultSignature],
) -> Failure | None:
    """Why a complete run has failed: its answers are not what the job requires; None if they are, or nothing is
    required."""
    why = None if require is None or not answers else missed(answers, require)
    if why is None:
        return None
    return _fault(evidence, signatures, outcome) or _failure(FailureKind.WRONG_ANSWERS, why, outcome)


def suspicion(
    failure: Failure | None, outcome: Outcome, evidence: Evidence, signatures: Sequence[FaultSignature]
) -> Suspicion | None:
    """Why the slot must not get another job; None if there is no evidence against it.

    A sticky signature counts if the attempt failed with a fault, and also if the tool reported success. In the log of a
    cancelled attempt it proves nothing: the runtime may print such lines while it is being killed. The same is true for
    a server which was stopped and did not end regularly.
    """
    if outcome.unkillable:
        processes = ", ".join(map(str, outcome.unkillable))
        return Suspicion(reason=f"processes {processes} survived SIGKILL and may still have its cards open")
    killed = outcome.stopped is StopReason.STOPPED and outcome.exit_code != 0
    if killed or (failure is not None and failure.kind is not FailureKind.FAULT):
        return None
    matched = evidence.match([known for known in signatures if known.sticky])
    return None if matched is None else Suspicion(reason=matched[1], signature=matched[0].name)


def failure_of_canary(answers: Sequence[CheckedAnswer], outcome: Outcome) -> Failure | None:
    """Why a completed canary has not passed; None if every answer equals the golden one."""
    wrong = [answer for answer in answers if answer.exact is not True]
    if answers and not wrong:
        return None
    first = f"; the first: {wrong[0].given.text!r}, not {wrong[0].golden!r}"[:_REASON_LENGTH] if wrong else ""
    reason = f"{len(wrong)} of {len(answers)} answers are not the golden ones{first}"
    return _failure(FailureKind.WRONG_ANSWERS, reason, outcome)


def suspicion_of_canary(failure: Failure) -> Suspicion | None:
    """Why a slot on which a canary failed cannot be trusted; None if the failure is no evidence about its cards."""
    if failure.kind not in COUNTED:
        return None
    return Suspicion(reason=f"the canary failed: {failure.reason}", signature=failure.signature, blames_job=False)


def _fault(evidence: Evidence, signatures: Sequence[FaultSignature], outcome: Outcome) -> Failure | None:
    matched = evidence.match(signatures)
    if matched is None:
        return None
    signature, line = matched
    return _failure(FailureKind.FAULT, line, outcome, signature=signature.name)


def _failure(kind: FailureKind, reason: str, outcome: Outcome, *, signature: str | None = None) -> Failure:
    return Failure(kind=kind, reason=reason, exit_code=outcome.exit_code, signal=outcome.signal, signature=signature)


def _how_it_ended(outcome: Outcome, evidence: Evidence) -> str:
    last = evidence.last_line()
    if outcome.signal is not None:
        # The last line is then progress, not an error.
        how = f"killed by {_signal_name(outcome.signal)}"
        return f"{how} after: {last}" if last else f"{how}, and it printed nothing"
    how = f"exit code {outcome.exit_code}"
    return f"{last} ({how})" if last else f"{how}, and it printed nothing"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
