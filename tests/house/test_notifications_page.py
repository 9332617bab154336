"""The page on notifications shows code that works."""

import re
import time
from pathlib import Path

from orchestrator.model.notifications import new_secret, signed

PAGE = Path(__file__).parents[2] / "docs" / "notifications.md"


def test_the_check_of_a_signature_on_the_page_accepts_ours_and_nothing_else():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict = {}
    exec(compile(code, str(PAGE), "exec"), names)  # our own page
    verified = names["verified"]
    secret, body, now = new_secret(bytes(range(32))), '{"type": "你好"}'.encode(), int(time.time())
    headers = dict(signed(secret, "msg_1", now, body))

    assert verified(secret, headers, body)
    assert verified(secret, {**headers, "webhook-signature": f"v1,AAAA {headers['webhook-signature']}"}, body)
    assert not verified(secret, headers, body + b" ")
    assert not verified(new_secret(bytes(32)), headers, body)
    assert not verified(secret, {**headers, "webhook-id": "msg_2"}, body)
    assert not verified(secret, dict(signed(secret, "msg_1", now - 3600, body)), body)
