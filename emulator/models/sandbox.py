"""Jinja's sandbox as Hugging Face configures it for chat templates, with a limit on what one rendering may do.

A template comes with a model's files, so it is an untrusted program. Jinja's sandbox protects Python's internals, but
not against filling the memory or running for ever. Here every rendering has its own sandbox with a budget: values that
grow (texts, lists, repetition) are counted before they are created, and every pass of a loop and every call checks the
time. Filters and methods that can multiply their input by a number (`center`, `format`, `batch` …) are not available.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import wraps
from typing import Any

from jinja2 import Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from emulator.tool import Refused

LARGEST = 50_000_000
"""Characters and list items that one rendering may make, all intermediate ones counted."""
SECONDS = 1.0
"""Processor time of one rendering; a real template needs some milliseconds."""
_ITEM = 100
"""What looking at one item costs, in characters."""
_DEEPEST_INDENT = 16
_LONGEST_NUMBER = 10_000
"""Bits."""
_FILTERS = frozenset({
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby", "indent",
    "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace",
    "reverse", "safe", "select", "selectattr", "sort", "string", "title", "trim", "truncate", "unique", "upper",
    "wordcount",
})  # fmt: skip
_SHALLOW = frozenset({"count", "d", "default", "first", "items", "last", "length", "list"})
"""Filters that do not look into what is in their input."""
_METHODS: Mapping[type, Collection[str]] = {
    str: frozenset({
        "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower",
        "isspace", "isupper", "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace",
        "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase",
        "title", "upper",
    }),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
}  # fmt: skip
"""By exact type; a value of another type of Python's own has none."""
_PLAIN = (str, int, float, bytes, type(None))


class _Generator(CodeGenerator):
    """Puts loops, `~` and slices under the budget, which Jinja's own code leaves out of its sandbox."""

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        tick = nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None, lineno=node.lineno)
        node.body.insert(0, nodes.ExprStmt(tick, lineno=node.lineno))
        super().visit_For(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.part(")
        self.visit(node.node, frame)
        self.write(", slice(")
        for bound in (node.arg.start, node.arg.stop, node.arg.step):
            self.write("None") if bound is None else self.visit(bound, frame)
            self.write(", ")
        self.write("))")


class _Generation(Extension):
    """`{% generation %}` marks what the assistant said, for training; the text itself is not changed."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of one rendering, or of one reading; what goes beyond its budget is `Refused`."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    code_generator_class = _Generator

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], finalize=self._printed,
            cache_size=0,
        )  # fmt: skip
        self._left = LARGEST
        self._until = time.thread_time() + SECONDS
        self.filters = {name: self._metered(name, self.filters[name]) for name in _FILTERS}
        self.filters["tojson"] = self._metered("tojson", _tojson)
        del self.globals["lipsum"]
        self.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}

    def spend(self, amount: int) -> None:
        """Take characters or items from the budget."""
        self._left -= amount
        if self._left < 0:
            raise Refused(f"chat template: makes more than {LARGEST} characters of one conversation")

    def tick(self) -> None:
        """One pass of a loop, or one call: what else there is in a template ends by itself."""
        if time.thread_time() > self._until:
            raise Refused(f"chat template: takes more than {SECONDS:g} s of processor time")

    def concat(self, parts: Iterable[str]) -> str:
        """What a macro or a block says, as one text."""
        return self.joined(list(parts))

    def joined(self, parts: Collection[Any]) -> str:
        """The operator `~`."""
        self._weigh(parts)
        return "".join(map(str, parts))

    def part(self, holder: Any, which: slice) -> Any:
        """A slice."""
        return self._made(holder[which])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The operators whose result can be much larger than what goes in."""
        match operator, left, right:
            case "%", str(), _:
                raise SecurityError("% on a text is not allowed")
            case "**", int(), int():
                _require_small(left.bit_length() * max(right, 0))
            case "*", int(), int():
                _require_small(left.bit_length() + right.bit_length())
            case "*", _, _:
                times, each = (left, right) if isinstance(left, int) else (right, left)
                self.spend(max(times, 0) * _length(each) if isinstance(times, int) else 1)
            case _:
                self.spend(_length(left) + _length(right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A function, a macro or a method."""
        self.tick()
        owner = getattr(called, "__self__", None)
        if isinstance(owner, str):
            args = tuple(_listed(args))
            self._weigh([owner, *args])
            self._grow(called.__name__, (args[0], owner) if called.__name__ == "join" else (owner, *args))
        return self._made(super().call(context, called, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may have an attribute."""
        if isinstance(obj, _PLAIN) or type(obj) in _METHODS:
            known = next((methods for kind, methods in _METHODS.items() if isinstance(obj, kind)), ())
            return attr in known
        return super().is_safe_attribute(obj, attr, value)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """An error at once, and not only where the value is used."""
        raise SecurityError(f"access to {attribute!r} of a {type(obj).__name__} is not allowed")

    def wrap_str_format(self, value: Any) -> None:
        """`format` gets no wrapper: it is no known method."""

    def _metered(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        own = 1 if hasattr(function, "jinja_pass_arg") else 0
        """Jinja hands its own state to some filters, before the template's arguments."""

        @wraps(function)
        def run(*given: Any, **named: Any) -> Any:
            state, args = given[:own], _listed(given[own:])
            if name not in _SHALLOW:
                self._weigh([*args, named])
            self._grow(name, args, **named)
            return self._made(function(*state, *args, **named))

        return run

    def _grow(self, name: str, args: Iterable[Any], **named: Any) -> None:
        if name in _GROWTH:
            self.spend(_GROWTH[name](*args, **named))

    def _printed(self, value: Any) -> Any:
        if not isinstance(value, str):
            self._weigh(value)
        return value

    def _weigh(self, value: Any) -> None:
        """Pay for everything that is in a value; shared parts count as often as they would be printed."""
        waiting = [value]
        while waiting:
            found = waiting.pop()
            self.spend(_ITEM + _length(found))
            if isinstance(found, Mapping):
                waiting += [*found, *found.values()]
            elif isinstance(found, list | tuple | set | frozenset):
                waiting += found

    def _made(self, value: Any) -> Any:
        self.spend(_length(value))
        return value


def _require_small(bits: int) -> None:
    if bits > _LONGEST_NUMBER:
        raise Refused("chat template: makes a number that is too large")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | Mapping | set | frozenset | range) else 0


def _listed(args: Iterable[Any]) -> list[Any]:
    """Arguments that can be looked at before they are used."""
    return [list(value) if isinstance(value, Iterator) else value for value in args]


def _replaced(text: Any, old: str, new: str, *_: Any, **__: Any) -> int:
    return str(text).count(str(old)) * len(str(new))


def _between(items: Collection[Any], between: str = "", *_: Any, **named: Any) -> int:
    return len(items) * len(str(named.get("d", between)))


def _indented(text: Any, width: int | str = 4, *_: Any, **__: Any) -> int:
    return (str(text).count("\n") + 1) * (width if isinstance(width, int) else len(width))


def _compared(text: Any, wanted: str | None = None, *_: Any, **__: Any) -> int:
    return len(str(text)) * len(wanted or "-")


_GROWTH: Mapping[str, Callable[..., int]] = {
    "replace": _replaced,
    "join": _between,
    "indent": _indented,
    **dict.fromkeys(("trim", "strip", "lstrip", "rstrip", "rsplit", "rpartition", "rfind", "rindex"), _compared),
}
"""Characters that these may add to what they are given, or compare one by one."""


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as a model was trained on it: without escapes for HTML, and with every letter as it is."""
    if indent is not None and (not isinstance(indent, int) or indent > _DEEPEST_INDENT):
        raise ValueError(f"tojson: indent is not a number up to {_DEEPEST_INDENT}")
    if separators is not None and sum(map(len, separators)) > _DEEPEST_INDENT:
        raise ValueError("tojson: separators are too long")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object = None) -> None:
    raise Refused(message[:1000] if isinstance(message, str) else "the chat template refuses these messages")


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
