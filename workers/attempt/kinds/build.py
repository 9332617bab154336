"""A job whose result depends only on its inputs, and is taken from the cache for the same inputs."""

from workers.attempt import model_unchanged
from workers.attempt.collect import Results
from workers.attempt.facts import Ran
from workers.attempt.kinds.tool import Tool


class Build(Tool):
    """Quantising, converting, compiling, and computing reference answers."""

    def collect(self, ran: Ran) -> Results:
        """As for any tool; BadSpec, and nothing stored, if the model's weights were changed meanwhile."""
        claimed = self._claimed
        model_unchanged.refuse_changed(claimed.assignment.model, claimed.slot.settings, claimed.slot.database)
        return super().collect(ran)
