"""Targets of notifications, on the command line."""


def test_a_target_is_added_with_its_secret_listed_without_and_removed(tx81, at_site):
    url = "https://hooks.invalid/T/hush-hush"

    made = tx81("notify", "add", "lab", url)
    listed = tx81("notify", "list")

    assert made.code == 0, made.err
    assert made.out.splitlines()[-1].startswith("whsec_")
    assert "https://hooks.invalid/***" in listed.out
    assert "hush-hush" not in made.out + listed.out + made.err
    assert "whsec_" not in listed.out
    assert tx81("notify", "log", "lab", "--output", "json").document == []
    assert tx81("notify", "remove", "lab").code == 0
    assert "lab" not in tx81("notify").out


def test_a_target_that_is_never_called_is_refused_in_one_line(tx81, at_site):
    ran = tx81("notify", "add", "cloud", "http://169.254.169.254/latest")

    assert (ran.code, ran.err.count("\n")) == (5, 1)
    assert "metadata" in ran.err
    assert "target none has no message 1" in tx81("notify", "resend", "none", 1).err
