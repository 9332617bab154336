"""Which class runs which kind of job: the one place to which a new kind is added."""

from orchestrator.model.specs import BUILD_KINDS
from workers.attempt.facts import Claimed
from workers.attempt.kinds.build import Build
from workers.attempt.kinds.canary import Canary
from workers.attempt.kinds.client import Client
from workers.attempt.kinds.host_setup import HostSetup
from workers.attempt.kinds.server import Server
from workers.attempt.kinds.tool import Tool

KINDS: dict[str, type[Tool]] = {
    **dict.fromkeys(BUILD_KINDS, Build),
    "infer": Tool,
    "canary": Canary,
    "serve": Server,
    "client": Client,
    "provision": HostSetup,
}


def kind_of(claimed: Claimed) -> Tool:
    """The class that runs this attempt; a stored spec of an unknown kind goes to `Tool`, which refuses it with the
    reason."""
    return KINDS.get(str(claimed.assignment.spec.get("kind")), Tool)(claimed)
