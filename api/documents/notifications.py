"""The documents about notifications."""

from datetime import datetime

from pydantic import Field

from api.documents.base import Document, View
from orchestrator.model.notifications import DeliveryState, TargetKind


class TargetView(View):
    """A target, without its secrets."""

    name: str
    kind: TargetKind
    url: str = Field(description="Scheme and host; the rest is masked.")
    created_by: str
    created_at: datetime


class NewTarget(TargetView):
    """A target that was just added."""

    secret: str | None = Field(
        description="Key of the signatures of a webhook (Standard Webhooks, whsec_…), shown for the only time."
    )


class DeliveryView(View):
    """One message to a target."""

    id: int
    target: str
    message_id: str = Field(description="`webhook-id`: the same for every attempt.")
    subject: str
    type: str
    document: Document = Field(description="What is sent: type, timestamp and data.")
    state: DeliveryState
    attempts: int
    next_at: datetime | None = Field(description="When it is tried next; null once it has ended.")
    last_status: int | None = Field(description="HTTP status of the latest answer.")
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None
