"""A short inference with known answers, which shows whether the cards of a slot compute correctly."""

from orchestrator.model.failures import Failure, Suspicion
from workers.attempt import judge
from workers.attempt.collect import Results
from workers.attempt.facts import Ran
from workers.attempt.kinds.tool import Tool


class Canary(Tool):
    """Passes only if every answer is the golden one; a single failure speaks against its slot."""

    def accept(self, ran: Ran, results: Results) -> Failure | None:
        """As of any tool, and every answer has to be the golden one."""
        return super().accept(ran, results) or judge.failure_of_canary(results.answers, ran.outcome)

    def suspect(self, failure: Failure) -> Suspicion | None:
        """At once: the canary's only question is whether its cards can be trusted."""
        return judge.suspicion_of_canary(failure)
