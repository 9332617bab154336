"""What the API answers about trust in cards: why a slot is out of service, what was tried there, and its canaries."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.documents.base import View


class CanaryView(View):
    """What checks the cards of quarantined slots: a short inference with known answers."""

    release: str
    spec: dict[str, Any] = Field(description="With every input by digest.")
    set_by: str
    set_at: datetime
