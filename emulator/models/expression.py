"""Expressions of chat templates, read into a tree and walked; nothing of them is ever run as Python.

Python's own reader does the reading: what Jinja writes is close enough, once `|` has been given the precedence that it
has there (above `+`).
"""

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from emulator.tool import Refused

_PIPE = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|\|""", re.DOTALL)
_LARGEST = 10_000_000
"""Characters that a template may make of one prompt."""
_UNDEFINED = object()
_CONSTANTS: Mapping[str, object] = {"true": True, "false": False, "none": None}
_METHODS = frozenset({"split", "strip", "lstrip", "rstrip", "startswith", "endswith", "upper", "lower", "replace"})
_FILTERS: Mapping[str, Callable[[Any], Any]] = {
    "trim": lambda value: str(value).strip(),
    "length": len,
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "tojson": lambda value: json.dumps(value, ensure_ascii=False),
    "string": str,
}
_TESTS: Mapping[str, Callable[[Any], bool]] = {
    "defined": lambda value: value is not _UNDEFINED,
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "mapping": lambda value: isinstance(value, Mapping),
    "true": lambda value: value is True,
    "false": lambda value: value is False,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda left, right: left == right,
    ast.NotEq: lambda left, right: left != right,
    ast.Lt: lambda left, right: left < right,
    ast.LtE: lambda left, right: left <= right,
    ast.Gt: lambda left, right: left > right,
    ast.GtE: lambda left, right: left >= right,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mod: lambda left, right: left % right if isinstance(left, int) else _no("% of a text"),
}
_KNOWN = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Subscript, ast.Slice, ast.Attribute, ast.Call, ast.keyword,
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.IfExp, ast.BinOp, ast.MatMult, ast.Compare,
    ast.Is, ast.IsNot, ast.List, ast.Tuple, *_COMPARISONS, *_ARITHMETIC,
)  # fmt: skip


class Namespace(dict[str, Any]):
    """What `namespace(…)` makes: the one thing whose fields a loop can change for good."""


class Expression:
    """One expression, read and checked."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        # A text may span lines in Jinja, and not in Python.
        piped = _PIPE.sub(lambda found: found[1].replace("\n", "\\n") if found[1] else "@", self.text)
        try:
            self.tree = ast.parse(f"({piped})", mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise Refused(f"chat template: cannot read {self.text!r}: {error}") from None
        for node in ast.walk(self.tree):
            self._require_known(node)

    def _require_known(self, node: ast.AST) -> None:
        match node:
            case ast.BinOp(op=ast.MatMult(), right=ast.Name(id=name)) if name in _FILTERS:
                return
            case ast.Compare(ops=[ast.Is() | ast.IsNot()], comparators=[ast.Name(id=name)]) if name in _TESTS:
                return
            case ast.BinOp(op=ast.MatMult()) | ast.Compare(ops=[ast.Is() | ast.IsNot(), *_]):
                pass
            case _ if isinstance(node, _KNOWN):
                return
        raise Refused(f"chat template: {self.text!r} is more than this server understands")


class Scope:
    """The names an expression can see, and their values."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = dict(names)

    def inside(self, names: Mapping[str, Any]) -> "Scope":
        """The scope of a loop's body: what is set there does not reach outside."""
        return Scope({**self.names, **names})

    def value(self, expression: Expression) -> Any:
        """What the expression comes to."""
        try:
            return self._of(expression.tree)
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            raise Refused(f"chat template: {expression.text!r}: {error}") from None

    def text(self, expression: Expression) -> str:
        """The same as it is printed."""
        value = self.value(expression)
        return "" if value is _UNDEFINED else str(value)

    def truth(self, expression: Expression) -> bool:
        """The same as a condition."""
        return _true(self.value(expression))

    def items(self, expression: Expression) -> Iterable[Any]:
        """The same as something to loop over."""
        value = self.value(expression)
        if not isinstance(value, list | tuple | str | dict):
            raise Refused(f"chat template: {expression.text!r} is nothing to loop over")
        return value

    def _of(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return _CONSTANTS[name] if name in _CONSTANTS else self.names.get(name, _UNDEFINED)
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [self._of(part) for part in parts]
            case ast.Attribute(value=holder, attr=name):
                return _item(self._of(holder), name)
            case ast.Subscript(value=holder, slice=ast.Slice(lower=low, upper=high, step=None)):
                return self._of(holder)[slice(low and self._of(low), high and self._of(high))]
            case ast.Subscript(value=holder, slice=key):
                return _item(self._of(holder), self._of(key))
            case ast.IfExp(test=test, body=body, orelse=other):
                return self._of(body if _true(self._of(test)) else other)
            case ast.Call():
                return self._call(node)
            case _:
                return self._operation(node)

    def _operation(self, node: ast.expr) -> Any:
        match node:
            case ast.BoolOp(op=op, values=values):
                value: Any = None
                for part in values:
                    value = self._of(part)
                    if _true(value) == isinstance(op, ast.Or):
                        break
                return value
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not _true(self._of(operand))
            case ast.UnaryOp(operand=operand):
                return -self._of(operand)
            case ast.BinOp(left=left, op=ast.MatMult(), right=ast.Name(id=name)):
                return _FILTERS[name](self._of(left))
            case ast.BinOp(left=left, op=op, right=right):
                return _bounded(_ARITHMETIC[type(op)](self._of(left), self._of(right)))
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as op], comparators=[ast.Name(id=name)]):
                return _TESTS[name](self._of(left)) == isinstance(op, ast.Is)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                values = [self._of(part) for part in (left, *comparators)]
                pairs = pairwise(values)
                return all(_COMPARISONS[type(op)](*pair) for op, pair in zip(ops, pairs, strict=True))
        raise TypeError("not understood")

    def _call(self, node: ast.Call) -> Any:
        arguments = [self._of(argument) for argument in node.args]
        match node.func:
            case ast.Name(id="namespace"):
                return Namespace({word.arg or "": self._of(word.value) for word in node.keywords})
            case ast.Name(id="raise_exception"):
                raise Refused(str(arguments[0]) if arguments else "the chat template refuses these messages")
            case ast.Attribute(value=holder, attr=name) if name in _METHODS and not node.keywords:
                owner = self._of(holder)
                if isinstance(owner, str):
                    return _bounded(getattr(owner, name)(*arguments))
        raise TypeError("not a function that is known")


def _true(value: Any) -> bool:
    return value is not _UNDEFINED and bool(value)


def _item(holder: Any, key: Any) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(key, _UNDEFINED)
    if isinstance(holder, list | str) and isinstance(key, int):
        return holder[key]
    raise TypeError(f"no {key!r} in it")


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LARGEST:
        raise ValueError(f"longer than {_LARGEST} characters")
    return value


def _no(what: str) -> Any:
    raise TypeError(f"{what} is not known")
