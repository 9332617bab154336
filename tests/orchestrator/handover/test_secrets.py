"""What leaves the installation has no secret in it, and is otherwise unchanged."""

import pytest

from orchestrator.handover.secrets import MASK, Redactor, is_secret, passwords_in

TOKEN = "tx81_" + "Ab3-_" * 9
WEBHOOK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Authorization: Bearer {TOKEN}", TOKEN),
        ("authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
        ('{"Authorization": "Bearer abcdefghijklmnopq"}', "abcdefghijklmnopq"),
        ("postgresql://tx81:s3cr3t!x@db:5432/tx81", "s3cr3t!x"),
        ("redis://:hunter22@broker:6379/0", "hunter22"),
        ("password=correct-horse", "correct-horse"),
        ('"db_password": "correct horse"', "correct horse"),
        ("API_KEY=abc123def", "abc123def"),
        ("tool --api-key abc123def --model m", "abc123def"),
        (f"secret {WEBHOOK}", WEBHOOK),
        ("hf_" + "a1B2" * 9, "hf_" + "a1B2" * 9),
        ("xoxb-1234567890-abcdef", "xoxb-1234567890-abcdef"),
        ("key AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4", "SflKxwRJSMeKKF2QT4"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    ],
)
def test_a_secret_in_a_text_is_masked(text: str, secret: str):
    shown = Redactor().text(text)

    assert secret not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "text",
    ["output_tokens: 512", "max_tokens=1024 tokens per second", "-mt 512 -cn 0..3", "/models/qwen", "the key is ready"],
)
def test_what_is_no_secret_stays(text: str):
    assert Redactor().text(text) == text


def test_an_answer_about_passwords_stays_but_our_own_token_in_it_does_not():
    answer = f"password = 123456 is a bad one; and {TOKEN}"

    assert Redactor().known(answer) == f"password = 123456 is a bad one; and {MASK}"


def test_the_passwords_of_this_installation_are_masked_wherever_they_stand():
    own = passwords_in("postgresql://tx81:p%40ss%2Fword@db/tx81", "redis://broker:6379/0")

    assert Redactor(own).known("connecting with p@ss/word (p%40ss%2Fword)") == f"connecting with {MASK} ({MASK})"


def test_values_under_secret_names_and_after_secret_flags_are_masked():
    document = {
        "env": {"HF_TOKEN": "abc", "PATH": "/usr/bin", "DB_DSN": "x", "AWS_SECRET_ACCESS_KEY": "y"},
        "argv": ["tool", "--token", "abc", "--max-tokens", "512", "--password=abc"],
        "output_tokens": 7,
    }

    shown = Redactor().document(document)

    assert shown["env"] == {"HF_TOKEN": MASK, "PATH": "/usr/bin", "DB_DSN": MASK, "AWS_SECRET_ACCESS_KEY": MASK}
    assert shown["argv"] == ["tool", "--token", MASK, "--max-tokens", "512", f"--password={MASK}"]
    assert shown["output_tokens"] == 7


def test_a_secret_across_two_pieces_of_a_log_is_found():
    log = b"start\n" * 10 + f"token is {TOKEN} here\n".encode() + "北京\n".encode() * 3 + b"\xff\xfe end"
    pieces = [log[start : start + 7] for start in range(0, len(log), 7)]

    shown = b"".join(Redactor().pieces(pieces))

    assert TOKEN.encode() not in shown
    assert shown == log.replace(TOKEN.encode(), MASK.encode())


def test_numbers_of_tokens_are_no_secrets():
    assert [is_secret(name) for name in ("max_tokens", "output_tokens", "HF_TOKEN", "token")] == [
        False, False, True, True,
    ]  # fmt: skip
