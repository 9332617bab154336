"""A person hears of a quarantine, from the card to the receiver."""

import json

import pytest
from eventually import eventually
from lab import Lab
from receiver import receiving

from orchestrator.model.notifications import TargetRequest

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(300)]


def test_a_quarantine_and_its_end_arrive_at_the_receiver(lab: Lab):
    with receiving() as receiver:
        made = lab.client.notifications.add(TargetRequest(name="scenario", url=f"{receiver.url}/hook"))
        try:
            lab.client.quarantine("lab1.cpu0", note="fan is loud")
            lab.client.resume("lab1.cpu0")
            eventually(lambda: len(receiver.received) == 2, within=30)
        finally:
            log = lab.client.notifications.deliveries("scenario").items
            lab.client.notifications.remove("scenario")

    assert made.secret is not None
    told = [json.loads(request.body) for request in receiver.received]
    assert [each["type"] for each in told] == ["slot.quarantined", "slot.resumed"]
    assert told[0]["data"]["text"] == "lab1.cpu0 is quarantined: fan is loud"
    assert {message.message_id for message in log} == {request.headers["webhook-id"] for request in receiver.received}
