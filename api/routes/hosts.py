"""Hosts: which are present, the state of their slots, and since when one is away."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.access import Actor, GuardedRoute, Once, needs
from api.context import Given
from api.documents import examples
from api.documents.base import Page
from api.documents.hosts import HostDetail, HostView
from api.documents.jobs import JobView
from api.http.replay import note_replay, replays
from api.parameters import Retired, ThingName
from api.views.hosts import host_fields
from api.views.jobs import job_view
from orchestrator.jobs import queries
from orchestrator.model.provision import ProvisionRequest
from orchestrator.model.scopes import Scope
from orchestrator.slots import hosts

router = APIRouter(prefix="/hosts", tags=["hosts"], route_class=GuardedRoute)


@router.get("")
def list_hosts(context: Given, retired: Retired = False) -> Page[HostView]:
    """The hosts in use by name, or the retired ones."""
    lost_after = context.settings.lease
    with context.database.read() as session:
        now = context.database.now(session)
        gone, every = hosts.retired(session), hosts.hosts(session, now=now, lost_after=lost_after)
        found = [facts for facts in every if (facts.name in gone) == retired]
        return Page(items=tuple(HostView.model_validate(host_fields(facts, now, lost_after)) for facts in found))


@router.post("/{host}/provision", status_code=201, responses=replays(JobView), openapi_extra=needs(Scope.ADMIN))
def provision(
    host: ThingName,
    body: Annotated[ProvisionRequest, Body(openapi_examples=examples.PROVISION)],
    context: Given,
    response: Response,
    once: Once,
    actor: Actor,
) -> JobView:
    """Install a release on a host and register it, as a job that uses all its card groups. They stay drained
    if a step fails; otherwise each returns to service when its canary passes. 409 while the host is being set up
    already."""
    made = context.provisioning.start(host, body, by=actor, idempotency=once)
    note_replay(made, response)
    with context.database.read() as session:
        return job_view(queries.job(session, made.jobs[0]))


@router.get("/{host}")
def show_host(host: ThingName, context: Given) -> HostDetail:
    """One host with its slots."""
    lost_after = context.settings.lease
    with context.database.read() as session:
        now = context.database.now(session)
        (facts,) = hosts.hosts(session, host, now=now, lost_after=lost_after)
        return HostDetail.model_validate(host_fields(facts, now, lost_after))
