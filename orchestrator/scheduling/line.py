"""The line: which queued jobs come next, decided ahead for the slots that become free before the next turn.

It is decided in a turn, after `plan.decide`, from the jobs that are still queued; `orchestrator.jobs.line` keeps it and
gives its jobs out.
"""

from datetime import timedelta

from sqlalchemy.orm import Session

from orchestrator.jobs import shares
from orchestrator.jobs.line import InLine, NextJobs
from orchestrator.model.demand import Demand
from orchestrator.model.states import ServiceState
from orchestrator.scheduling import queue
from orchestrator.scheduling.placement.place import following
from orchestrator.scheduling.placement.supply import Supply

A_SLOT = 4
"""Jobs in line for each slot, on average."""
FEWEST, MOST = 16, 256
"""Jobs in line at most, for few slots and for many: each end of an attempt reads the line."""


def decide(session: Session, slots: Supply, *, aging: timedelta) -> NextJobs:
    """The line for all slots in service, those that are busy and those that are about to be."""
    takers = [slot for slot in slots.free if slot.service is ServiceState.IN_SERVICE]
    takers += [busy.slot for busy in slots.busy]
    most = min(MOST, max(FEWEST, A_SLOT * len(takers)))
    classes = queue.classes(session)
    demands = {each.demand: Demand.parse(each.demand) for each in classes}
    # A class of which nothing fits blocks nobody, and may be long.
    fitting = [each for each in classes if any(demands[each.demand].admits(slot) for slot in takers)]
    queued = [job for each in fitting for job in queue.heads(session, each, most)]
    queued = list({job.job_id: job for job in queued}.values())
    candidates = queue.candidates(queued, queue.known(session, queued), now=slots.now, aging=aging)
    found = following(candidates, takers, shares.all_shares(session, slots.now), most)
    asked = {job.job_id: job.queue_class for job in queued}
    chosen = [asked[each.job_id] for each in found]
    projects = {each.project for each in chosen}
    return NextJobs(
        jobs=[InLine(each.job_id, asked[each.job_id].demand, each.kcore) for each in found],
        several=len({each.project for each in classes}) > 1,
        lowest=min((each.priority for each in chosen), default=0),
        project=projects.pop() if len(projects) == 1 else None,
    )
