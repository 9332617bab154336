"""Secrets are replaced by `***` in everything that leaves the installation. Pure.

Two rules. `known` replaces what is certainly a secret: passwords and tokens of this installation, by value or by
their form. `text` also replaces what looks like one by its name (`password=…`, `Authorization: …`), which is right for
logs and environments, and wrong for prompts and answers, whose every character counts.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

MASK = "***"

SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|APIKEY|DSN|COOKIE|(^|_)(KEY|PAT|PWD|AUTH)($|_)", re.IGNORECASE
)
"""Names of variables and fields whose values are secret."""

_COUNT = re.compile(r"_?(tokens|token_count|max_tokens|tokens_.*|.*_tokens)$", re.IGNORECASE)
"""Tokens of a text are no secrets."""

_BY_FORM = (
    r"\btx81_[A-Za-z0-9_-]{40,}",  # our bearer tokens
    r"\bwhsec_[A-Za-z0-9+/=]{16,}",  # Standard Webhooks
    r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}",
    r"\bhf_[A-Za-z0-9]{30,}",
    r"\bxox[abposr]-[A-Za-z0-9-]{10,}",
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",  # a JSON web token
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
)
_WORDS = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credentials?|cookie)"
_BY_NAME = (
    # A URL with a user's password keeps its host. The password ends at the last @ before a slash or blank.
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@'\"]*@", re.IGNORECASE), rf"\1{MASK}@"),
    (re.compile(r"(\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)(?:\w+\s+)?[^\s\"',}]+", re.I), rf"\1{MASK}"),
    (re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{16,}", re.IGNORECASE), rf"\1{MASK}"),
    # name=value, "name": "value", --name value
    (
        re.compile(
            rf"((?<![A-Za-z0-9])(?:[A-Za-z0-9]+[-_])*{_WORDS}[\"']?\s*[:=]\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&\"'}}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(--(?:[a-z0-9]+[-_])*{_WORDS}[ \t]+)(?!-)\S+", re.IGNORECASE), rf"\1{MASK}"),
)

_SHORTEST = 6
"""A known secret of fewer characters would mask half of a log, and is none."""


class Redactor:
    """Replaces secrets; `values` are those of this installation, by value."""

    def __init__(self, values: Collection[str] = ()) -> None:
        found = {word for value in values for word in (value, quote(value, safe=""), unquote(value))}
        literal = [re.escape(word) for word in sorted(found, key=lambda each: (-len(each), each))]
        words = [word for word in literal if len(word) >= _SHORTEST]
        self._known = re.compile("|".join([*words, *_BY_FORM]), re.DOTALL)

    def known(self, text: str) -> str:
        """Without what is certainly a secret; all else is exactly as it was."""
        return self._known.sub(MASK, text)

    def text(self, text: str) -> str:
        """Without what is, or looks like, a secret."""
        text = self.known(text)
        for pattern, instead in _BY_NAME:
            text = pattern.sub(instead, text)
        return text

    def document(self, value: Any, name: str = "") -> Any:
        """A JSON document: values under secret names are masked, all other texts are treated as `text` does."""
        if isinstance(value, dict):
            return {self.text(str(key)): self.document(entry, str(key)) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return self.argv(value) if name == "argv" else [self.document(entry, name) for entry in value]
        if isinstance(value, str):
            return MASK if value and is_secret(name) else self.text(value)
        return value

    def argv(self, words: Iterable[Any]) -> list[Any]:
        """A command line: the word after `--token` is a secret as well."""
        found, hide = [], False
        for word in words:
            found.append(MASK if hide else self.text(word) if isinstance(word, str) else word)
            flag = isinstance(word, str) and word.startswith("-") and "=" not in word
            hide = flag and is_secret(str(word).lstrip("-").replace("-", "_"))
        return found

    def pieces(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """A log of any size, piece by piece; a secret that lies across two pieces is found."""
        held = ""
        for piece in pieces:
            held += piece.decode("utf-8", "surrogateescape")
            cut = _cut(held)
            if cut:
                yield self.text(held[:cut]).encode("utf-8", "surrogateescape")
                held = held[cut:]
        if held:
            yield self.text(held).encode("utf-8", "surrogateescape")


def is_secret(name: str) -> bool:
    """Whether the value of a variable, field or flag of this name is a secret."""
    return SECRET_NAME.search(name) is not None and _COUNT.search(name) is None


def passwords_in(*urls: str) -> list[str]:
    """The passwords in these URLs, to be masked wherever they stand."""
    found = []
    for url in urls:
        try:
            password = urlsplit(url).password
        except ValueError:
            password = None
        found += [password] if password else []
    return found


_MOST_HELD = 1 << 20
_LONGEST_KEY = 1 << 16


def _cut(held: str) -> int:
    """Where the text may be cut: after a line, but not inside a private key; of a line without end, after a word."""
    cut = held.rfind("\n") + 1
    if not cut and len(held) > _MOST_HELD:
        cut = max(held.rfind("\r"), held.rfind(" ")) + 1 or len(held)
    begin = held.rfind("-----BEGIN", 0, cut)
    if begin >= 0 and "-----END" not in held[begin:cut] and len(held) - begin < _LONGEST_KEY:
        return begin
    return cut
