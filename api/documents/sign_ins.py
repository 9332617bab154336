"""The document about signing a browser in."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View


class SignInLinkView(View):
    """A link that signs one browser in as the caller, once."""

    path: str = Field(description="To be opened below the server's address.")
    expires_at: datetime
