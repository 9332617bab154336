"""Ends of attempts whose cards are not looked at in their own time, and the look that follows.

The shim is the parent of last resort of all that a tool starts: when it has no child left, nothing of the tool runs,
and nothing of it has a card open. What that does not show (a card that vanished, a stranger, a descriptor handed to
one) is found by a look that begins within `unproven.WITHIN` after the end and that all workers of the host share. It
costs the slot, and the attempts that ended since the look before are told so, as each would be by a look of its own.
"""

import logging
import time
from functools import partial

from orchestrator.jobs import suspicions
from orchestrator.model.failures import Failure, Suspicion
from orchestrator.model.profile import ProbeRule
from orchestrator.slots import service
from workers.host import strays
from workers.host.probe import Finding, Probe
from workers.host.unproven import WITHIN
from workers.processes.process import Outcome
from workers.processes.shim import descendants
from workers.processes.threads import beside
from workers.slot import OwnedSlot

log = logging.getLogger(__name__)

SHORT = 1.0
"""Seconds: the end of a longer run can afford a look of its own."""

PROVE_CARDS = frozenset({"canary", "provision"})
"""Kinds that are placed on slots under suspicion too."""

_TRY_AGAIN = 1.0


def needs_own_look(kind: str, rule: ProbeRule, *, below_shim: bool, groups: int) -> bool:
    """Whether the cards of such an attempt are looked at right before and right after it, whatever its end. Pure.

    The shim is not above what runs in a container. A gang has cards of other workers. A vendor's check is asked by each
    worker for itself."""
    return kind in PROVE_CARDS or not below_shim or groups != 1 or rule.check is not None


def ended_normally(outcome: Outcome | None, failure: Failure | None, suspicion: Suspicion | None) -> bool:
    """Whether a run leaves no reason to look at its cards at once: short, successful, not stopped, and when the tool
    ended nothing else of its tree was left. Pure."""
    return (
        outcome is not None
        and failure is None
        and suspicion is None
        and (outcome.exit_code, outcome.stopped, outcome.launch_error) == (0, None, None)
        and not (outcome.strays or outcome.unkillable)
        and outcome.seconds <= SHORT
    )


def owe(slot: OwnedSlot, probe: Probe, attempt_id: int, *, gone_at: float) -> None:
    """Have the cards of the slot looked at soon. Called when the end is in SQL: it would overwrite what is found."""
    if slot.unproven.add(attempt_id, probe, gone_at=gone_at):
        try:
            beside(partial(_follow, slot))
        except RuntimeError:  # no thread can be started
            _follow(slot)


def settle(slot: OwnedSlot) -> None:
    """Look at the cards for all ends that are not proven yet; a stranger costs the slot, and marks them."""
    oldest = slot.unproven.oldest()
    if oldest is None:
        return
    since, probe = oldest
    finding = _look(slot, probe, since)
    if not _fit(finding):
        # Once more: a process whose parent ended a moment ago is not seen to be one of ours.
        finding = _look(slot, probe, time.monotonic())
    if _fit(finding):
        slot.unproven.proven(probe, began=finding.began)
        slot.seen_free[slot.name.cards] = finding.began
    else:
        reason = f"after the run, {finding.sentence()}"
        condemn(slot, Suspicion(reason=reason, blames_job=False, slots=(slot.id,), evidence=finding.document()))


def condemn(slot: OwnedSlot, suspicion: Suspicion) -> None:
    """Quarantine the slot, and store the suspicion with the attempts that ended since the last look."""
    marked = slot.unproven.attempts()
    with slot.database.admission() as (session, now):
        service.suspect(
            session, slot.id, worker=slot.worker, reason=suspicion.reason, evidence=suspicion.evidence, now=now
        )
        suspicions.note(session, marked, suspicion)
    slot.unproven.suspect(suspicion, marked, at=time.monotonic())


def _look(slot: OwnedSlot, probe: Probe, since: float) -> Finding:
    own = partial(descendants, slot.shim.pid)
    finding = probe.look(slot.name.cards, since=since, own=own)
    return strays.attributed(finding, slot.settings, slot.database, own=(slot.id,))


def _fit(finding: Finding) -> bool:
    return finding.free or finding.strayed


def _follow(slot: OwnedSlot) -> None:
    """Until nothing is unproven any more."""
    while (oldest := slot.unproven.oldest()) is not None:
        wait = oldest[0] + WITHIN - time.monotonic()
        if wait > 0:
            time.sleep(wait)
            # Proven meanwhile by the look before a start, as a rule.
            continue
        try:
            settle(slot)
        except Exception:
            log.warning("open cards not checked; trying again", exc_info=True, extra={"slot": slot.id})
            time.sleep(_TRY_AGAIN)
