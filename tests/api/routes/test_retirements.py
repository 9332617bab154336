import pytest
from builders.rows import a_model

from api.client.client import ApiError


def test_a_model_is_retired_listed_as_such_and_used_again(client, database):
    with database.write() as session:
        a_model(session, "old")

    made = client.retire("model", "old", "weights are broken")

    assert (made.kind, made.name, made.note) == ("model", "old", "weights are broken")
    assert client.retirements() == (made,)
    assert [model.name for model in client.models(retired=True)] == ["old"]
    assert "old" not in [model.name for model in client.models()]
    assert client.model("old").name == "old"
    assert client.unretire("model", "old") == made
    assert "old" in [model.name for model in client.models()]
    assert client.retirements() == client.releases(retired=True) == client.hosts(retired=True) == ()


def test_a_reason_that_is_given_later_replaces_the_first(client, database):
    with database.write() as session:
        a_model(session, "twice")
    reasons = [client.retire("model", "twice", reason).note for reason in ("old", None, "broken")]

    assert reasons == ["old", "old", "broken"]
    assert client.unretire("model", "twice").note == "broken"


def test_what_is_not_there_cannot_be_retired(client):
    with pytest.raises(ApiError, match="there is no host lab9"):
        client.retire("host", "lab9")
