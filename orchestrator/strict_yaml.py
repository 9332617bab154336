"""YAML from outside, as the plain data that JSON can have: read strictly, or refused with the line. Pure.

The rules of `orchestrator.strict_json` apply. In addition, every use of an alias counts as if it were written out, so
that a few lines cannot become millions of values; dates are texts; application-specific tags are refused. A key is the
text as written, also where YAML would read it as a number or a boolean.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from orchestrator.strict_json import DEEPEST, BadDocument, Place, check, twice

MOST_VALUES = 200_000
MOST_BYTES = 8 << 20

_LONGEST_NUMBER = 40
"""Characters; no valid number is longer, and the time to read one grows with the square of its length."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TEXTS = ("str", "timestamp", "value")


@dataclass
class Document:
    """The data of a file, and the line of each of its entries, by path."""

    values: Any
    lines: dict[Place, int] = field(default_factory=dict)


def load(text: str, *, most_values: int = MOST_VALUES, most_bytes: int = MOST_BYTES) -> Document:
    """The one document in the text; BadDocument says what is wrong with it, and where."""
    if len(text) > most_bytes:
        raise BadDocument(f"it is longer than {most_bytes} characters")
    try:
        node = _Composer(text, most_values).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        # For a document that ends too early, the C parser reports the line after the last one.
        line = None if mark is None else min(mark.line + 1, text.rstrip("\n").count("\n") + 1)
        raise BadDocument(f"not YAML: {what}", line=line) from None
    reading = _Reading(most_values)
    document = Document(None if node is None else reading.value(node, ()), reading.lines)
    try:
        check(document.values)
    except BadDocument as bad:
        raise BadDocument(bad.what, bad.place, document.lines.get(bad.place)) from None
    return document


class _Composer:
    """Builds nodes from events as they arrive, so that depth and number are checked before more is read."""

    def __init__(self, text: str, most_values: int) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._left = most_values
        self._most = most_values
        self._resolve: Callable[..., str] = Resolver().resolve
        self._anchors: dict[str, yaml.Node | None] = {}

    def document(self) -> yaml.Node | None:
        """The root, or None if there is no document."""
        root = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise BadDocument("a second document begins; give one in a file", line=_line(event))
                root = self._node(next(self._events), 1)
        return root

    def _node(self, event: Any, depth: int) -> yaml.Node:
        line = _line(event)
        self._left -= 1
        if self._left < 0:
            raise BadDocument(f"it has more than {self._most} values", line=line)
        if depth > DEEPEST:
            raise BadDocument(f"it is nested deeper than {DEEPEST} levels", line=line)
        if isinstance(event, yaml.AliasEvent):
            known = self._anchors.get(str(event.anchor))
            if known is None:
                why = "contains itself" if event.anchor in self._anchors else "names no anchor"
                raise BadDocument(f"*{event.anchor} {why}", line=line)
            return known
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _scalar(self, event: Any) -> yaml.Node:
        tag = event.tag
        if tag in (None, "!"):
            tag = self._resolve(yaml.ScalarNode, event.value, event.implicit)
        return yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)

    def _collection(self, event: Any, depth: int) -> yaml.Node:
        found = []
        is_list = isinstance(event, yaml.SequenceStartEvent)
        while not isinstance(inner := next(self._events), yaml.SequenceEndEvent | yaml.MappingEndEvent):
            found.append(self._node(inner, depth + 1))
        usual = f"{_TAG}{'seq' if is_list else 'map'}"
        tag = usual if event.tag in (None, "!") else event.tag
        if tag != usual:
            raise BadDocument(f"the tag {event.tag} is not taken here", line=_line(event))
        if is_list:
            return yaml.SequenceNode(tag, found, event.start_mark, event.end_mark)
        pairs = list(zip(found[::2], found[1::2], strict=True))
        return yaml.MappingNode(tag, pairs, event.start_mark, event.end_mark)


class _Reading:
    """Plain data from nodes; the target of an alias is read and counted again at each use."""

    def __init__(self, most_values: int) -> None:
        self.lines: dict[Place, int] = {}
        self._left = most_values
        self._most = most_values
        self._constructor = SafeConstructor()

    def value(self, node: yaml.Node, place: Place) -> Any:
        self._left -= 1
        if self._left < 0:
            raise BadDocument(f"it has more than {self._most} values; each use of an alias counts", line=_line(node))
        if len(place) > DEEPEST:
            raise BadDocument(f"it is nested deeper than {DEEPEST} levels", place[:3], _line(node))
        if isinstance(node, yaml.SequenceNode):
            for index, inner in enumerate(node.value):
                self.lines[*place, index] = _line(inner)
            return [self.value(inner, (*place, index)) for index, inner in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, inner in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise BadDocument("a key is a list or a mapping; write a text", place, _line(key))
            name, line = str(key.value), _line(key)
            if name in first:
                raise twice((*place, name), line, first[name])
            first[name] = line
            if key.tag == f"{_TAG}merge":
                for each in inner.value if isinstance(inner, yaml.SequenceNode) else [inner]:
                    laid = self.value(each, place)
                    if not isinstance(laid, dict):
                        raise BadDocument("<< takes a mapping, or a list of them", place, line)
                    merged = laid | merged
                continue
            self.lines[*place, name] = line
            found[name] = self.value(inner, (*place, name))
        return merged | found

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        if kind in _TEXTS:
            return node.value
        if kind in ("int", "float") and len(node.value) > _LONGEST_NUMBER:
            raise BadDocument("the number is too large", place, _line(node))
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return self._constructor.construct_yaml_bool(node)
                case "int":
                    return self._constructor.construct_yaml_int(node)
                case "float":
                    return self._constructor.construct_yaml_float(node)
        except (ValueError, KeyError, OverflowError):
            raise BadDocument(f"{node.value[:40]!r} is no {kind}", place, _line(node)) from None
        raise BadDocument(f"the tag {node.tag} is not taken here", place, _line(node))


def _line(marked: Any) -> int:
    return int(marked.start_mark.line) + 1
