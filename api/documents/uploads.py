"""The document about an upload of a model's archive."""

from pydantic import Field

from api.documents.base import View


class UploadView(View):
    """The progress of an upload."""

    digest: str
    size: int
    offset: int = Field(description="Where the next piece begins; equals `size` when complete.")
