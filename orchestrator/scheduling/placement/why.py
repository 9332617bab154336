"""The sentences that say why a job got its slots. Each is true of the free slots at the moment of the placement.

"Free" is a slot without a job, earlier jobs of the same turn included; a free slot that is reserved, or set aside for a
gang, is not open to the job. "Fits" is what the job's demand admits.
"""

from collections.abc import Collection, Iterable, Sequence

from orchestrator.model.demand import FreeSlot
from orchestrator.scheduling.placement.candidate import Candidate

WARM = "the kernel image that was placed on this slot last is the same"
IDLE = "of the free slots that fit, none was used longer ago"
LEFT_TO_GANGS = "hosts with more free slots are left to gangs"
ALONE = "no other slot that fits was free"
ALONE_OPEN = "the other free slots that fit are reserved or set aside for other jobs"
NO_OTHER_HOST = "no other host had enough free slots that fit"
NO_OTHER_HOST_OPEN = "no other host had enough free slots that fit and are neither reserved nor set aside"
FEWEST_FREE = "other hosts with enough free slots that fit had more free slots for gangs"
LESS_WANTED = "more jobs of this turn name slots of another host that was as good otherwise"
WARM_HOST = "the same kernel image was placed last on more of its slots than on those of one as good otherwise"
EQUAL_HOSTS = "another host with enough free slots that fit was as good"


def named(candidate: Candidate) -> str:
    """The request leaves no choice."""
    return f"the request names {', '.join(candidate.demand.only)}"


def alone(*, closed: bool) -> str:
    """One slot was open to the job; `closed`: other free ones that fit were not."""
    return ALONE_OPEN if closed else ALONE


def left_to_those_who_name(slot: FreeSlot) -> str:
    """Another open slot is named by more jobs of the turn than the chosen one."""
    return f"other free slots, such as {slot.id}, are left to queued jobs that name them"


def after_failures(candidate: Candidate, best: FreeSlot, left: Collection[FreeSlot], *, closed: bool) -> str:
    """The job has attempts that did not succeed; `left` are all slots that were open to it."""
    if best.id not in candidate.avoid:
        start = f"{named(candidate)}; " if candidate.demand.only else ""
        return f"{start}earlier attempts on {_listed(candidate.avoid)} did not succeed, and this is another slot"
    if candidate.demand.only:
        reason = named(candidate)
    elif len(left) == 1:
        reason = alone(closed=closed)
    else:
        tried = _listed(slot.id for slot in left)
        return f"earlier attempts did not succeed on any of the slots that were open to it ({tried})"
    return f"{reason}, although an earlier attempt here did not succeed"


def of_gang(
    candidate: Candidate,
    slots: Sequence[FreeSlot],
    hosts: Sequence[tuple[tuple[bool, int, int, int], bool]],
    *,
    closed: bool,
) -> str:
    """Why the gang got these slots. `hosts`: of each host with enough open slots, how it was rated (failed there, free
    slots, claims, other kernel images; lower is better), and whether it was chosen."""
    reason = named(candidate) if candidate.demand.only and len(hosts) == 1 else _of_hosts(candidate, hosts, closed)
    failed = sorted(slot.id for slot in slots if slot.id in candidate.avoid)
    return f"{reason}, although an earlier attempt on {_listed(failed)} did not succeed" if failed else reason


def _of_hosts(candidate: Candidate, hosts: Sequence[tuple[tuple[bool, int, int, int], bool]], closed: bool) -> str:
    if len(hosts) == 1:
        return NO_OTHER_HOST_OPEN if closed else NO_OTHER_HOST
    best = next(rated for rated, chosen in hosts if chosen)
    second = min(rated for rated, chosen in hosts if not chosen)
    if best[0] != second[0]:
        return (
            f"other hosts had too few slots besides {_listed(candidate.avoid)}, where earlier attempts did not succeed"
        )
    differs = next((place for place in range(1, len(best)) if best[place] != second[place]), None)
    return EQUAL_HOSTS if differs is None else (FEWEST_FREE, LESS_WANTED, WARM_HOST)[differs - 1]


def _listed(ids: Iterable[str]) -> str:
    return ", ".join(sorted(ids))
