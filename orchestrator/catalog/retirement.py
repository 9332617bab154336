"""Models, releases, hosts and artifacts that a person has retired: hidden from lists, and refused for new jobs.

Nothing of them is deleted, and jobs that exist already are not changed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from orchestrator.errors import BadSpec, IllegalTransition, NotFound
from orchestrator.model.retirements import Retirable, Retiree, RetireRequest
from orchestrator.storage.events import record
from orchestrator.storage.tables import Artifact, Model, Release, Retirement, Slot

_EXISTS = {
    Retirable.MODEL: lambda name: select(Model.name).where(Model.name == name),
    Retirable.RELEASE: lambda name: select(Release.name).where(Release.name == name),
    Retirable.HOST: lambda name: select(Slot.host).where(Slot.host == name),
    Retirable.ARTIFACT: lambda name: select(Artifact.digest).where(Artifact.digest == name),
}


def retire(session: Session, request: RetireRequest, *, by: str, now: datetime, lost_after: timedelta) -> Retirement:
    """Retire it; what is retired already stays so, and gets the reason if one is given. NotFound without such a thing.

    IllegalTransition for the default release, and for a host whose workers are alive."""
    kind, name = request.kind, request.name
    if session.scalar(_EXISTS[kind](name).limit(1)) is None:
        raise NotFound(f"there is no {kind} {name}", **{str(kind): name})
    if (found := session.get(Retirement, (kind, name))) is not None:
        if request.note not in (None, found.note):
            found.note = request.note
            record(session, "catalog.retired", now, what=str(kind), name=name, by=by, note=request.note)
        return found
    if kind is Retirable.RELEASE and session.get_one(Release, name).is_default:
        raise IllegalTransition(f"release {name} is the default: make another one the default first", release=name)
    alive = select(Slot.id).where(Slot.host == name, Slot.heartbeat_at > now - lost_after).limit(1)
    if kind is Retirable.HOST and (slot_id := session.scalar(alive)) is not None:
        raise IllegalTransition(f"the worker of {slot_id} is alive: stop the workers of host {name} first", host=name)
    made = Retirement(kind=kind, name=name, by=by, note=request.note, at=now)
    session.add(made)
    session.flush()
    record(session, "catalog.retired", now, what=str(kind), name=name, by=by, note=request.note)
    return made


def unretire(session: Session, retiree: Retiree, *, by: str, now: datetime) -> Retirement:
    """Use it again; NotFound if it is not retired."""
    found = session.get(Retirement, (retiree.kind, retiree.name))
    if found is None:
        raise NotFound(f"{retiree.kind} {retiree.name} is not retired", **{str(retiree.kind): retiree.name})
    session.delete(found)
    session.flush()
    record(session, "catalog.unretired", now, what=str(retiree.kind), name=retiree.name, by=by)
    return found


def back(session: Session, host: str, *, now: datetime) -> None:
    """A worker of the host has started: it is in use again."""
    found = session.get(Retirement, (Retirable.HOST, host))
    if found is not None:
        session.delete(found)
        record(session, "catalog.unretired", now, what="host", name=host, by=None)


def retirements(session: Session) -> Sequence[Retirement]:
    """All that is retired, by kind and name."""
    return session.scalars(select(Retirement).order_by(Retirement.kind, Retirement.name)).all()


def names(kind: Retirable) -> Select[str]:
    """The names of what is retired of a kind, as a condition of other queries."""
    return select(Retirement.name).where(Retirement.kind == kind)


def refuse(session: Session, kind: Retirable, name: str, *, field: str) -> None:
    """BadSpec if a new job names something that is retired."""
    found = session.get(Retirement, (kind, name))
    if found is not None:
        why = f": {found.note}" if found.note else ""
        remedy = f"name another one, or use it again: tx81 unretire {kind} {name}"
        raise BadSpec(f"{kind} {name} was retired by {found.by} ({found.at:%Y-%m-%d}){why}; {remedy}", field=field)
