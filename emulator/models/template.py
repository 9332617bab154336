"""Chat templates as models carry them in `tokenizer_config.json`: the part of Jinja that they are written in.

Known are output, `if`, `for` and `set` (of a name, or of a field of a `namespace`), comments and the trimming marks;
what an expression may hold is in `expression.py`. As Hugging Face's libraries have it, a newline after a block and the
blanks before one on its line are dropped. What is not known is refused when the template is read, not when somebody
asks a question.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.models.expression import Expression, Namespace, Scope
from emulator.tool import Refused

_TAG = re.compile(r"\{\{(?P<output>.*?)\}\}|\{%(?P<block>.*?)%\}|\{#(?P<note>.*?)#\}", re.DOTALL)
_FOR = re.compile(r"for\s+(?P<name>\w+)\s+in\s+(?P<rest>.+)", re.DOTALL)
_SET = re.compile(r"set\s+(?P<name>\w+)(?:\.(?P<field>\w+))?\s*=\s*(?P<rest>.+)", re.DOTALL)
_LONGEST = 100_000
"""Characters of a template; published ones have a tenth of that."""


@dataclass(frozen=True)
class _Say:
    what: Expression


@dataclass(frozen=True)
class _Choose:
    branches: tuple[tuple[Expression, "_Body"], ...]


@dataclass(frozen=True)
class _Repeat:
    name: str
    over: Expression
    body: "_Body"


@dataclass(frozen=True)
class _Keep:
    name: str
    field: str | None
    value: Expression


_Body = tuple["str | _Say | _Choose | _Repeat | _Keep", ...]
_Token = tuple[str, str]


class Template:
    """One template, read and checked."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise Refused(f"chat template: longer than {_LONGEST} characters")
        tokens = list(_tokens(text))
        self._body, end, left = _read(tokens, ())
        if end or left:
            raise Refused(f"chat template: {{% {end} %}} closes nothing")

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for these values; what the template cannot say about them is `Refused`."""
        return "".join(_run(self._body, Scope(values)))


def _tokens(text: str) -> Iterator[_Token]:
    """Pieces of plain text, and tags without their braces and trimming marks."""
    at, trim, newline = 0, False, False
    for tag in _TAG.finditer(text):
        kind, body = next((kind, body) for kind, body in tag.groupdict().items() if body is not None)
        plain = _opened(text[at : tag.start()], trim=trim, newline=newline)
        if body.startswith("-"):
            plain = plain.rstrip()
        elif kind != "output":
            plain = re.sub(r"(^|\n)[ \t]+\Z", r"\1", plain)
        yield "text", plain
        if kind != "note":
            yield kind, body.removeprefix("-").removesuffix("-").strip()
        at, trim, newline = tag.end(), body.endswith("-"), kind != "output"
    yield "text", _opened(text[at:], trim=trim, newline=newline)


def _opened(plain: str, *, trim: bool, newline: bool) -> str:
    """Plain text without what the tag before it takes away."""
    if trim:
        return plain.lstrip()
    return plain.removeprefix("\n") if newline else plain


def _read(tokens: Sequence[_Token], closers: Sequence[str]) -> tuple[_Body, str, Sequence[_Token]]:
    """The statements up to one of `closers`, which of them it was, and what follows it."""
    body: list[str | _Say | _Choose | _Repeat | _Keep] = []
    while tokens:
        (kind, text), tokens = tokens[0], tokens[1:]
        word = text.split(None, 1)[0] if kind == "block" and text else ""
        if kind == "text":
            body.append(text)
        elif kind == "output":
            body.append(_Say(Expression(text)))
        elif word in closers:
            return tuple(body), text, tokens
        elif word == "if":
            choice, tokens = _read_choice(text, tokens)
            body.append(choice)
        elif found := _FOR.fullmatch(text):
            inner, _, tokens = _read(tokens, ("endfor",))
            body.append(_Repeat(found["name"], Expression(found["rest"]), inner))
        elif found := _SET.fullmatch(text):
            body.append(_Keep(found["name"], found["field"], Expression(found["rest"])))
        else:
            raise Refused(f"chat template: {{% {text} %}} is not known here")
    if closers:
        raise Refused(f"chat template: {{% {closers[-1]} %}} is missing")
    return tuple(body), "", tokens


def _read_choice(opening: str, tokens: Sequence[_Token]) -> tuple[_Choose, Sequence[_Token]]:
    branches = []
    condition = Expression(opening.removeprefix("if"))
    while True:
        body, closer, tokens = _read(tokens, ("elif", "else", "endif"))
        branches.append((condition, body))
        if closer == "endif":
            return _Choose(tuple(branches)), tokens
        condition = Expression("true" if closer == "else" else closer.removeprefix("elif"))


def _run(body: _Body, scope: Scope) -> Iterator[str]:
    for part in body:
        match part:
            case str():
                yield part
            case _Say(what):
                yield scope.text(what)
            case _Choose(branches):
                chosen = next((inner for condition, inner in branches if scope.truth(condition)), ())
                yield from _run(chosen, scope)
            case _Keep(name, field, value):
                _keep(scope, name, field, scope.value(value))
            case _Repeat(name, over, inner):
                items = list(scope.items(over))
                for at, item in enumerate(items):
                    loop = {"index": at + 1, "index0": at, "first": at == 0, "last": at == len(items) - 1}
                    yield from _run(inner, scope.inside({name: item, "loop": loop}))


def _keep(scope: Scope, name: str, field: str | None, value: Any) -> None:
    if field is None:
        scope.names[name] = value
        return
    holder = scope.names.get(name)
    if not isinstance(holder, Namespace):
        raise Refused(f"chat template: {name} is no namespace")
    holder[field] = value
