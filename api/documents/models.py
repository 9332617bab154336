"""Documents about registered models."""

from datetime import datetime

from api.documents.base import Document, View


class ModelView(View):
    """A registered weights directory."""

    name: str
    path: str
    family: str
    digest: str
    size: int
    created_at: datetime


class ModelDetail(ModelView):
    """A model with the config.json of the publisher and that of the TX81 tools."""

    official_config: Document | None
    tx81_config: Document | None
