"""What the API answers about servers: where each answers, and how much of it is used."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class EndpointView(BaseModel):
    """Where a server answers OpenAI's interface."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    job_id: int
    attempt_id: int
    model: str = Field(description="As it is registered.")
    served_id: str = Field(description="What a request to it has to call the model.")
    url: str = Field(description="Below it the paths begin with /v1.")
    groups: int = Field(description="Card groups, each of which answers one request at a time.")
    ready_at: datetime
    last_used_at: datetime | None = Field(description="To within some seconds; null if it was not used yet.")
    in_flight: int | None = Field(
        default=None,
        description="Requests under way through the API's own address, as the process that answers this counts them; "
        "null where it is not told. What is asked of the server straight is not counted.",
    )
