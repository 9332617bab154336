"""The statements for the transitions in `orchestrator.jobs.lifecycle`, built once, on plain tables.

With mapped classes and built for each call they take five times as long, and they are most of the time that an idle
stack spends between a request and the vendor's process. A parameter with the name of a column is written to it; the
other parameters belong to the condition. `database.run` runs them: it flushes the session first, whose pending changes
they would not see.
"""

from sqlalchemy import bindparam, case, delete, insert, literal, select, update

from orchestrator.model.states import AttemptState, ServiceState
from orchestrator.storage.tables import Base

_JOB, _ATTEMPT, _LEASE, _SLOT, _ARTIFACT, _ENDPOINT = (
    Base.metadata.tables[name] for name in ("job", "attempt", "lease", "slot", "artifact", "endpoint")
)

CREATE = insert(_JOB).returning(_JOB.c.id, sort_by_parameter_order=True)
"""New jobs; returns their numbers in the order of the rows passed in."""

MOVE_JOB = (
    update(_JOB)
    .where(_JOB.c.id == bindparam("moved"), _JOB.c.state == bindparam("start"))
    .values(version=_JOB.c.version + 1)
)

MOVE_ATTEMPT = update(_ATTEMPT).where(_ATTEMPT.c.id == bindparam("moved"), _ATTEMPT.c.state == bindparam("start"))

CLAIM_ATTEMPT = MOVE_ATTEMPT.where(_ATTEMPT.c.slot_id == bindparam("lead"))
MOVE_OWN_ATTEMPT = CLAIM_ATTEMPT.where(_ATTEMPT.c.worker == bindparam("owner"))
"""The transition is made by a worker: only for an attempt whose lead slot is its own, and that it has claimed
itself."""

COUNT_MISROUTED = (
    update(_SLOT).where(_SLOT.c.id == bindparam("rung")).values(misrouted_bells=_SLOT.c.misrouted_bells + 1)
)

TRY = insert(_ATTEMPT).returning(_ATTEMPT.c.id, sort_by_parameter_order=True)
"""New attempts; returns their ids in the order of the rows passed in."""

LEASE = insert(_LEASE)
EXTEND = update(_LEASE).where(_LEASE.c.attempt_id == bindparam("attempt"))
LET_GO = delete(_LEASE).where(_LEASE.c.attempt_id == bindparam("attempt"))

CLOSE_ENDPOINT = update(_ENDPOINT).where(
    _ENDPOINT.c.attempt_id == bindparam("attempt"), _ENDPOINT.c.closed_at.is_(None)
)
"""The endpoint of an attempt that ends; only a server that was ready has one."""

TO_CLAIM = (
    select(_ATTEMPT.c.job_id, _ATTEMPT.c.slot_id, _JOB.c.started_at)
    .join(_JOB, _JOB.c.id == _ATTEMPT.c.job_id)
    .where(_ATTEMPT.c.id == bindparam("wanted"))
    # FOR NO KEY UPDATE: rows that only refer to the job may be written meanwhile.
    .with_for_update(of=_JOB, key_share=True)
)
"""What a claim needs to know about an attempt; locks its job."""

NOTE_PROGRESS = update(_ATTEMPT).where(
    _ATTEMPT.c.id == bindparam("running"),
    _ATTEMPT.c.worker == bindparam("owner"),
    _ATTEMPT.c.slot_id == bindparam("lead"),
    _ATTEMPT.c.state == AttemptState.RUNNING,
)
NOTE_START = NOTE_PROGRESS.returning(_ATTEMPT.c.job_id, _ATTEMPT.c.slot_id)

TO_END = (
    select(
        _ATTEMPT.c.id,
        _ATTEMPT.c.job_id,
        _ATTEMPT.c.slot_id,
        _ATTEMPT.c.slot_ids,
        _ATTEMPT.c.started_at,
        _JOB.c.cancel,
        _JOB.c.stop,
    )
    .join(_JOB, _JOB.c.id == _ATTEMPT.c.job_id)
    .where(_ATTEMPT.c.id == bindparam("wanted"))
    .with_for_update(of=_JOB, key_share=True)
)
"""What the end of an attempt needs to know about it; locks its job."""

ADD_OUTPUT = insert(_ARTIFACT).values(
    job_id=select(_ATTEMPT.c.job_id).where(_ATTEMPT.c.id == bindparam("maker")).scalar_subquery()
)

NOTE_END = (
    update(_SLOT)
    .where(_SLOT.c.id == bindparam("left"))
    .values(
        service_state=case(
            (_SLOT.c.service_state == ServiceState.DRAINING, literal(ServiceState.DRAINED, _SLOT.c.service_state.type)),
            else_=_SLOT.c.service_state,
        )
    )
    .returning(_SLOT.c.service_state)
)
"""An attempt on the slot ends: a draining slot becomes drained. Returns the new state of the slot."""

SERVICE = (
    select(_SLOT.c.service_state, _SLOT.c.service_change, _SLOT.c.quarantined_because)
    .where(_SLOT.c.id == bindparam("left"))
    .with_for_update(key_share=True)
)

CONDEMN = update(_SLOT).where(_SLOT.c.id == bindparam("left"), _SLOT.c.service_state != ServiceState.QUARANTINED)
"""An attempt on the slot ends, and the slot is quarantined for it. A slot that is quarantined already keeps its
evidence."""
