"""What the commands of clients are filled in with: where the servers are, and how our own client is started."""

import sys
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from orchestrator.errors import BadSpec, EndpointClosed
from orchestrator.model.assignments import Assignment, ForeignServer, UsedEndpoint
from orchestrator.model.specs import ClientSpec, JobOutput

_CODE = Path(__file__).resolve().parents[2]


def client_words(spec: ClientSpec, assignment: Assignment) -> dict[str, str]:
    """The words of a client; EndpointClosed if a server is not there, BadSpec if it cannot be reached from here."""
    used = _asked(spec, assignment)
    # In turn, so that every server has as many processes as the others, or one more.
    ports = (str(endpoint.port) for endpoint in islice(cycle(used), spec.askers))
    words = {
        "ports": ",".join(ports), "url": used[0].url, "authority": used[0].authority, "served_id": used[0].served_id,
        "python": sys.executable, "code": str(_CODE),
    }  # fmt: skip
    return words if spec.load is None else {**words, "load": spec.load.model_dump_json(exclude_none=True)}


def _asked(spec: ClientSpec, assignment: Assignment) -> Sequence[UsedEndpoint | ForeignServer]:
    return _elsewhere(spec, assignment) if spec.elsewhere else _started_here(spec, assignment)


def _started_here(spec: ClientSpec, assignment: Assignment) -> Sequence[UsedEndpoint]:
    used = _in_order(spec.servers, assignment.endpoints)
    here = assignment.slot_ids[0].rpartition(".")[0]
    for endpoint in used:
        _require_reach(spec, endpoint, here)
    return used


def _elsewhere(spec: ClientSpec, assignment: Assignment) -> Sequence[ForeignServer]:
    for server in assignment.elsewhere:
        if spec.program != "load" and not server.on_loopback:
            raise BadSpec(
                f"the vendor's clients ask ports of 127.0.0.1, and {server.authority} is elsewhere: use program load",
                field="program",
            )
    return assignment.elsewhere


def _in_order(wanted: Sequence[JobOutput], found: Sequence[UsedEndpoint]) -> list[UsedEndpoint]:
    """Those that a spec names, by number or by the name in its pipeline."""
    by_number = {each.job_id: each for each in found}
    numbered = {one.job for one in wanted if isinstance(one.job, int)}
    by_name = {each.job_name: each for each in found if each.job_id not in numbered}
    used = []
    for one in wanted:
        endpoint = by_number.get(one.job) if isinstance(one.job, int) else by_name.get(one.job)
        if endpoint is None:
            raise EndpointClosed(f"the server of job {one.job} has ended before it could be asked")
        used.append(endpoint)
    return used


def _require_reach(spec: ClientSpec, endpoint: UsedEndpoint, here: str) -> None:
    where = f"the server of job {endpoint.job_id} is on {endpoint.host}, and this client was placed on {here}"
    remedy = f"pin it there: placement: {{labels: {{host: {endpoint.host}}}}}"
    if endpoint.host != here and (spec.program != "load" or endpoint.on_loopback):
        why = (
            "its address is only reachable on its own host"
            if spec.program == "load"
            else "the vendor's clients only ask their own host"
        )
        raise BadSpec(f"{where}; {why}. {remedy[0].upper()}{remedy[1:]}", field="placement.labels")
    if spec.program != "load" and not endpoint.on_loopback:
        raise BadSpec(
            f"the server of job {endpoint.job_id} listens on {endpoint.url}, and the vendor's clients ask 127.0.0.1: "
            "use program load",
            field="program",
        )
