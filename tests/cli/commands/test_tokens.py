def test_a_token_is_printed_once_and_works_until_it_is_revoked(tx81, at_site, monkeypatch):
    made = tx81("tokens", "create", "ci", "--scope", "viewer")
    plain = made.out.strip()

    listed = tx81("tokens")
    with monkeypatch.context() as as_ci:
        as_ci.setenv("TX81_TOKEN", plain)
        reading, creating = tx81("jobs"), tx81("tokens", "create", "other", "--scope", "viewer")
    revoked = tx81("tokens", "revoke", "ci")
    with monkeypatch.context() as as_ci:
        as_ci.setenv("TX81_TOKEN", plain)
        refused = tx81("jobs")

    assert (made.code, reading.code, creating.code, revoked.code, refused.code) == (0, 0, 3, 0, 3)
    assert plain.startswith("tx81_")
    assert "ci" in listed.out
    assert plain not in listed.out
    assert "needs the scope admin" in creating.err
    assert "check TX81_TOKEN" in refused.err


def test_a_scope_that_is_none_is_wrong_usage(tx81, at_site):
    ran = tx81("tokens", "create", "robot", "--scope", "root")

    assert ran.code == 2
    assert "viewer" in ran.err
