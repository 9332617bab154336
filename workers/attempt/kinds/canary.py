"""A short inference with known answers, which shows whether the cards of a slot compute correctly."""

from orchestrator.model.failures import Failure, Suspicion
from workers.attempt import judge
from workers.attempt.collect import Results
from workers.attempt.facts import Ran
from workers.attempt.kinds.tool import Tool


class Canary(Tool):
    """Passes only if every answer is the golden one; a single failure is evidence against its slot."""

    def accept(self, ran: Ran, results: Results) -> Failure | None:
        """As for any tool, and every answer has to equal the golden one."""
        return super().accept(ran, results) or judge.failure_of_canary(results.answers, ran.outcome)

    def suspect(self, failure: Failure) -> Suspicion | None:
        """Immediately: the only purpose of a canary is to check its cards."""
        return judge.suspicion_of_canary(failure)
