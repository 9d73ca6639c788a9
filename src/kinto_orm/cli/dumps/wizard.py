"""kinto-wizard's YAML: a tree of buckets, with what is in them.

    buckets:
      blog:
        permissions: {write: [account:ada]}
        data: {theme: dark}
        groups:
          writers: {data: {members: [account:ada]}, permissions: {}}
        collections:
          articles:
            data: {schema: {...}}
            permissions: {}
            records:
              first: {data: {title: Hello}, permissions: {}}

A file says what it names and nothing of the rest, as kinto-wizard has it: fields and permissions
that it does not name stay. It is read whole, for it may refer to its own parts. Format:
https://github.com/Kinto/kinto-wizard. Its parser is one of YAML 1.2, where `no` and `on` are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import yaml

from kinto_orm.cli.dumps.entries import Entry, Parts, Unreadable, Unwritable
from kinto_orm.cli.dumps.ndjson import is_access
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.targets import path_of

END = b"# This dump is complete."
"""The last line, a comment to other programs: half a YAML file is one, too."""

_BELOW = {"buckets": ("groups", "collections"), "collections": ("records",)}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads scalars as YAML 1.2 does; a date stays the text that JSON has for it."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Puts quotes around whatever any parser may take for something else than a text."""

    def ignore_aliases(self, data: object) -> bool:
        """Write out what comes twice."""
        return True


_NUMBERS = list("-+0123456789.")
_SCALARS = [
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _NUMBERS),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _NUMBERS,
    ),
    ("merge", r"<<", ["<"]),
]

_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _SCALARS:
    _regexp = re.compile(rf"^(?:{_pattern})$")
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _regexp, _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _regexp, _first)


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _number(loader: Any, node: Any) -> float:
    return float(loader.construct_scalar(node).replace(".inf", "inf").replace(".nan", "nan"))


class _Mapping(dict[str, Any]):
    """A mapping that knows where its keys stand.

    Attributes:
        lines: The numbers of the lines, by key.
    """

    lines: dict[str, int]


def _mapping(loader: Any, node: Any) -> _Mapping:
    """A mapping whose keys are the texts that stand there: an id may look like a number."""
    _refuse_twice(node)
    loader.flatten_mapping(node)
    made = _Mapping()
    made.lines = {}
    for key, value in node.value:
        name = loader.construct_scalar(key)
        made[name] = loader.construct_object(value, deep=True)
        made.lines[name] = key.start_mark.line + 1
    return made


def _refuse_twice(node: Any) -> None:
    """Refuse a key that stands there twice; what `<<` brings may be overridden.

    Raises:
        ConstructorError: One does: which of the two is meant?
    """
    seen = set[str]()
    for key, _ in node.value:
        if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key.value!r} stands twice in one mapping", key.start_mark
            )
        if isinstance(key.value, str):
            seen.add(key.value)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


class Writer:
    """Writes a dump, object by object.

    Args:
        file: Where to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._open: list[str] = []
        self._is_empty = True

    def write(self, entry: Entry) -> None:
        """Write an object, beneath those that it lives in.

        Raises:
            Unwritable: It is nested too deeply for the writer of YAML.
        """
        # Without permissions kinto-wizard fails; empty ones say nothing.
        content = {"data": entry.data, "permissions": entry.permissions or {}}
        try:
            text = _dumped(content)
        except RecursionError:
            raise Unwritable(
                f"{entry.target} cannot be written as YAML: its lists and objects are nested too "
                "deeply. Dump it as NDJSON: --format ndjson"
            ) from None
        self._go_to([part for step in entry.target.steps for part in step if part is not None])
        self._lines(text, len(self._open))

    def close(self) -> None:
        """End the file, with the line by which one knows that nothing is missing."""
        if self._is_empty:
            self._file.write(b"buckets: {}\n")
        self._file.write(END + b"\n")

    def _go_to(self, path: list[str]) -> None:
        """Write the keys on the way that are not open."""
        same = 0
        while same < min(len(path) - 1, len(self._open)) and path[same] == self._open[same]:
            same += 1
        for depth, name in enumerate(path[same:], same):
            self._lines(f"{_key(name)}:\n", depth)
        self._open = path
        self._is_empty = False

    def _lines(self, text: str, depth: int) -> None:
        indent = "  " * depth
        for line in text.removesuffix("\n").split("\n"):
            self._file.write(f"{indent}{line}\n".encode())


def _dumped(value: object) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=100
    )
    return text


def _key(name: str) -> str:
    return _dumped(name).partition("\n")[0]


class Reader:
    """Reads a file.

    Args:
        file: The file.

    Attributes:
        buckets: The ids of its buckets.
        parts: All of them may be there.
        total: None: nobody has counted.
        is_whole: Whether its last line says that nothing is missing.

    Raises:
        Unreadable: It is no YAML of this kind.
    """

    parts = Parts()
    total: int | None = None

    def __init__(self, file: IO[bytes]) -> None:
        content = file.read()
        self.is_whole = content.rstrip().rpartition(b"\n")[2] == END
        try:
            tree = yaml.load(content, Loader=_Loader)  # noqa: S506  (a safe one)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise Unreadable(f"the file is no YAML: {error}") from None
        if not isinstance(tree, dict) or not isinstance(tree.get("buckets"), dict):
            raise Unreadable("the file has no `buckets:` with buckets by their ids below")
        self.buckets = list(tree["buckets"])
        self._tree = tree

    def entries(self) -> Iterator[Entry | Unreadable]:
        """The objects, what they live in before them; and what is wrong where there is none."""
        yield from _below(self._tree, ("buckets",), "")


def _below(node: Mapping[str, Any], kinds: tuple[str, ...], above: str) -> Iterator[Any]:
    for kind in kinds:
        children = node.get(kind) or {}
        if not isinstance(children, dict):
            yield Unreadable(f"{above}/{kind}: objects by their ids have to stand here")
            continue
        for id, child in children.items():
            yield from _object(child or {}, kind, f"{above}/{kind}/{id}")


def _object(node: Any, kind: str, path: str) -> Iterator[Any]:
    data = (node.get("data") or {}) if isinstance(node, dict) else None
    access = (node.get("permissions") or None) if isinstance(node, dict) else None
    if not isinstance(data, dict) or not is_access(access):
        yield Unreadable(f"{path}: `data` has to be a mapping, `permissions` one of lists of texts")
        return
    unknown = [each for each in node if each not in ("data", "permissions", *_BELOW.get(kind, ()))]
    if unknown:
        line = getattr(node, "lines", {}).get(unknown[0])
        yield Unreadable(
            f"line {line}: {path}: {unknown[0]!r} is no part of it; its fields are "
            "those below `data`"
        )
        return
    try:
        yield Entry(path_of(path), data, access, path, whole=False)
    except Misuse as error:
        yield Unreadable(str(error))
        return
    yield from _below(node, _BELOW.get(kind, ()), path)
