"""The evidence that an ended tool left: its logs and the kernel log."""

from dataclasses import replace

from orchestrator.model.profile import FaultSignature
from workers.attempt.blackbox import kernel_lines, tail
from workers.attempt.collect import logs_beside
from workers.attempt.facts import Claimed, Ran
from workers.attempt.judge import EVIDENCE_BYTES, Evidence
from workers.processes.process import Outcome
from workers.toolchain.commands import Plan


def gathered(claimed: Claimed, plan: Plan, outcome: Outcome, *, since_ns: int) -> Ran:
    """The run with its evidence; an interrupted run has none, since its log proves nothing."""
    ran = Ran(plan, outcome, since_ns, claimed.clocks(), Evidence(""), {})
    if ran.interrupted:
        return ran
    logs = logs_beside(plan, claimed.work, since_ns=since_ns)
    evidence = Evidence(
        log=tail(claimed.log, EVIDENCE_BYTES),
        vendor_logs=tuple(tail(path, EVIDENCE_BYTES) for paths in logs.values() for path in paths),
        kernel=_kernel(claimed, plan.fault_signatures),
        cards=frozenset(card for group in claimed.assignment.groups for card in group.cards),
        exit_code=outcome.exit_code,
    )
    return replace(ran, evidence=evidence, logs=logs)


def _kernel(claimed: Claimed, known: tuple[FaultSignature, ...]) -> tuple[str, ...]:
    if not any(one.source == "kernel" for one in known):
        return ()
    # Not earlier: kernel messages about the previous attempt must not count against this one.
    return tuple(kernel_lines(claimed.began, earlier=0))
