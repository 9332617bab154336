"""Provisioning a host: from an admin's request to a job that has all card groups of the host exclusively.

Checked here is what can be known without the host: its packages and folders are checked by its own worker.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.catalog.paths import allowed_target
from orchestrator.catalog.profile_files import load_profile
from orchestrator.errors import BadSpec, IllegalTransition
from orchestrator.model.demand import Demand, labels_of
from orchestrator.model.profile import DefaultLimits
from orchestrator.model.provision import ProvisionRequest, ProvisionRule, ProvisionSpec
from orchestrator.model.slots import SlotKind
from orchestrator.model.specs import PlacementRequest
from orchestrator.model.states import FINAL
from orchestrator.settings import Settings
from orchestrator.slots import hosts
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Document, Job
from orchestrator.submission.drafts import Draft, job_columns
from orchestrator.submission.idempotency import Idempotency, Made
from orchestrator.submission.submit import Submission

KIND = "provision"


class Provisioning:
    """Submits the jobs that set up hosts."""

    def __init__(self, settings: Settings, database: Database, submission: Submission) -> None:
        self._settings = settings
        self._database = database
        self._submission = submission

    def start(self, host: str, request: ProvisionRequest, *, by: str, idempotency: Idempotency | None = None) -> Made:
        """Submit the job that does it; NotFound without such a host, BadSpec or PathRefused names the field at fault.

        IllegalTransition while the host is being set up already.
        """
        return self._submission.drafted(lambda: [self._draft(host, request, by)], idempotency, by=by)

    def _draft(self, host: str, request: ProvisionRequest, by: str) -> Draft:
        spec, rule = request.spec(host), self._rule(request)
        for field in ("packages", "root"):
            allowed_target(self._settings, getattr(request, field), field)
        with self._database.read() as session:
            _check_host(session, spec, self._settings, self._database)
        return Draft(job=_job(spec, request, rule, by), inputs=(), needs=frozenset(), files={})

    def _rule(self, request: ProvisionRequest) -> ProvisionRule:
        rule = load_profile(self._settings, request.profile).provision
        if rule is None:
            raise BadSpec(f"profile {request.profile} has no provision: it cannot set up a host", field="profile")
        try:
            rule.chosen(request.steps, driver=request.driver)
        except ValueError as trouble:
            raise BadSpec(str(trouble), field="steps") from None
        return rule


def demand(spec: ProvisionSpec) -> Demand:
    """All card groups of the host, also those out of service; a dry run only needs a seat there."""
    labels = labels_of([("host", spec.host)])
    if spec.dry_run:
        return Demand(SlotKind.CPU, labels=labels)
    left_out = frozenset(f"{spec.host}.{name}" for name in spec.without)
    return Demand(SlotKind.CARD_GROUP, labels=labels, count=len(spec.card_groups), provision=True, exclude=left_out)


def _check_host(session: Session, spec: ProvisionSpec, settings: Settings, database: Database) -> None:
    (facts,) = hosts.hosts(session, spec.host, now=database.now(session), lost_after=settings.lease)
    kinds = [each.slot.kind for each in facts.slots]
    if spec.dry_run:
        if SlotKind.CPU not in kinds:
            raise BadSpec(f"{spec.host} has no CPU seat for a dry run; start its worker cpu0", field="host")
        return
    wanted = {str(group) for group in spec.card_groups}
    found = {each.slot.name: each.slot for each in facts.slots if each.slot.kind is SlotKind.CARD_GROUP}
    if not wanted <= found.keys():
        raise BadSpec(
            f"{spec.host} has {len(found)} registered card groups, but all are needed to set it up: start the workers "
            f"of {', '.join(sorted(wanted - found.keys()))}, or name in `without` those that it does not have",
            field="host",
        )
    running = sorted(name for name in found.keys() - wanted if found[name].heartbeat_at is not None)
    if running:
        raise BadSpec(f"stop the workers of {', '.join(running)}, which the host is set up without", field="without")
    going = select(Job.id).where(Job.kind == KIND, Job.state.not_in(FINAL), Job.slot_kind == SlotKind.CARD_GROUP)
    same = session.scalar(going.where(Job.spec["host"].as_string() == spec.host).order_by(Job.id))
    if same is not None:
        raise IllegalTransition(f"job {same} is setting up {spec.host} already; wait for it or cancel it", job=same)


def _job(spec: ProvisionSpec, request: ProvisionRequest, rule: ProvisionRule, by: str) -> Document:
    stored = {
        "spec": spec.model_dump(mode="json"), "by": by, "limits": request.limits.model_dump(mode="json"),
        "placement": PlacementRequest().model_dump(mode="json"),
    }  # fmt: skip
    defaults = DefaultLimits(
        run_seconds=rule.run_seconds, silence_seconds=rule.silence_seconds, log_bytes=rule.log_bytes
    )
    return job_columns(
        spec, request, name=f"{KIND}-{spec.host}", release=None, demand=demand(spec), defaults=defaults, stored=stored
    )
