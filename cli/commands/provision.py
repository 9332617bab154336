"""The command that provisions a host: `tx81 provision`."""

from typing import Annotated

from cyclopts import Parameter
from rich.console import Group
from rich.table import Table

from api.documents.provisioning import ProvisionReport
from cli.commands.logs import log_followed
from cli.input.documents import validated
from cli.pages.jobs import jobs_table
from cli.pages.layout import row, table
from cli.session import HERE, Exit, Session, hint, once
from cli.waiting.jobs import exit_for, wait_for
from orchestrator.model.provision import ProvisionRequest

Switch = Parameter(negative="")


def provision(
    host: str,
    /,
    *,
    packages: str,
    root: str,
    release: str,
    profile: str,
    steps: str | None = None,
    driver: bool = True,
    without: str | None = None,
    force: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    project: str = "default",
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Install a release on a host from the vendor's packages and register it; print the log, then the steps.

    The job waits until all card groups of the host are free, and drains them. If a step fails they stay
    drained, with the reason; otherwise each returns to service when its canary has passed. Steps that are already
    done are skipped.

    Parameters
    ----------
    packages
        Folder on that host with the vendor's archives and SHA256SUMS.
    root
        Folder on that host to install into; created if missing. Another root is another installation.
    release
        Name to register the release under; jobs use this name.
    profile
        Name of the profile with the steps.
    steps
        Only these steps, separated by commas: packages, those of the profile, register, prove.
    driver
        --no-driver does not install the driver.
    without
        Card groups that the host does not have, separated by commas: g4,g5,g6,g7 for half a chassis.
    force
        Do the steps in --steps even if they are already done.
    dry_run
        Only print what would be done; the host stays in service.
    project
        Project of the job; inside a reservation, only jobs of its project are placed.
    key
        Idempotency key: repeating the command with the same key and options never starts a second job.
    """
    asked = {
        "packages": packages, "root": root, "release": release, "profile": profile, "driver": driver, "force": force,
        "dry_run": dry_run, "project": project,
    }  # fmt: skip
    lists = {"steps": steps, "without": without}
    named = {name: [one.strip() for one in text.split(",")] for name, text in lists.items() if text is not None}
    request = validated(ProvisionRequest, {**asked, **named})
    with session.client() as client:
        with once(key) as sent:
            job = client.provisioning.start(host, request, key=sent)
        hint(f"job {job.id} provisions {host}; to see what it waits for: tx81 explain {job.id}; Ctrl-C detaches")
        log_followed(client, job.id)
        (ended,) = wait_for(client, [job.id])
        report = client.provisioning.report(ended)
        document = {"job": ended.model_dump(mode="json"), "report": report and report.model_dump(mode="json")}
        session.emit(document, Group(jobs_table([ended]), *([] if report is None else [_steps(report)])))
        return exit_for([ended])


def _steps(report: ProvisionReport) -> Table:
    shown = table("step", "what", "outcome", "seconds", "why", right={"seconds"})
    for step in report.steps:
        seconds = None
        if step.began_at is not None and step.ended_at is not None:
            seconds = f"{(step.ended_at - step.began_at).total_seconds():.1f}"
        row(shown, step.step, step.title, step.state.replace("_", " "), seconds, step.why)
    return shown
