"""Python source of model classes, as ruff formats it.

Where a line would be too long, it is split with a comma at the end, which ruff leaves as it is
whatever its line length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from kinto_orm.cli.modelling.formats import GUESSED, TYPES
from kinto_orm.cli.modelling.naming import Names, class_name, class_names, field_names
from kinto_orm.cli.modelling.shapes import Member, Shape
from kinto_orm.cli.targets import NOT_DATA

_WIDTH = 88
_LONGEST_NAME = 40
_SCALARS = {"bool": "bool", "int": "int", "float": "float"}
_STANDARD = {
    "dt": "import datetime as dt",
    "IPv4Address": "ipaddress",
    "IPv6Address": "ipaddress",
    "Literal": "typing",
    "UUID": "uuid",
    "Union": "typing",
}
_PYDANTIC = ("AnyUrl", "BaseModel", "ConfigDict", "Field", "JsonValue")


@dataclass
class Module:
    """A module that is written, class by class.

    Attributes:
        about: Its docstring.
    """

    about: str
    _blocks: list[str] = field(default_factory=list)
    _names: Names = field(default_factory=class_names)
    _classes: dict[int, str] = field(default_factory=dict)
    _unwritten: set[str] = field(default_factory=set)

    def add(self, collection: str, shape: Shape, *, has_schema: bool) -> None:
        """Write the class of a collection's records, those of its fields before it.

        Args:
            collection: The collection's id.
            shape: What its records are.
            has_schema: Whether the collection has a schema: then the server writes the field
                `schema` into each record.
        """
        name = self._names.unique(class_name(collection))
        left_out = NOT_DATA | ({"schema"} if has_schema else set())
        members = {
            stored: each for stored, each in (shape.members or {}).items() if stored not in left_out
        }
        self._classes[id(shape)] = name
        head = _call(f"class {name}", ["Record", f"collection={quoted(collection)}"], ":")
        about = f"Records of the collection {collection}."
        self._class(head, about, name, members, of_record=True)

    def _class(
        self, head: str, about: str, name: str, members: Mapping[str, Member], *, of_record: bool
    ) -> None:
        names = field_names(members, of_record=of_record)
        body = [
            self._field(names[stored], stored, members[stored], name) for stored in sorted(members)
        ]
        intro = [f'    """{about}"""', ""]
        if not of_record:
            config = ['extra="allow"', "validate_by_name=True", "validate_by_alias=True"]
            intro += [f"    {_call('model_config = ConfigDict', config, '', 4)}", ""]
        self._blocks.append("\n".join([head, *intro, *body]).rstrip() + "\n")

    # Fields

    def _field(self, name: str, stored: str, member: Member, owner: str) -> str:
        types = self._types(member.shape, owner, stored)
        options: list[str] = []
        if not member.required:
            default = _default(member)
            if default is None and not (member.shape.null or types == ["JsonValue"]):
                options.append("exclude_if=is_none")
                types.append("None")
            options.insert(0, f"default={default}")
        if name != stored:
            options += [f"{each}_alias={quoted(stored)}" for each in _ALIASES]
        annotation = " | ".join(types)
        if any(re.search(rf"\b{each}\b", annotation) for each in self._unwritten):
            annotation = quoted(annotation)
        elif len(f"    {name}: {annotation} = Field(") > _WIDTH and len(types) > 1:
            annotation = self._named(types, owner, stored)
        head = f"    {name}: {annotation}"
        if not options:
            return head
        if options[0].startswith("default=") and len(options) == 1:
            return f"{head} = {options[0].removeprefix('default=')}"
        return _call(f"{head} = Field", options, "", 4)

    def _annotation(self, shape: Shape, owner: str, stored: str) -> str:
        return " | ".join(self._types(shape, owner, stored))

    def _types(self, shape: Shape, owner: str, stored: str) -> list[str]:
        parts = list(self._parts(shape, owner, stored))
        if "JsonValue" in parts or not parts:
            return ["JsonValue"]
        return [*parts, "None"] if shape.null else parts

    def _named(self, types: list[str], owner: str, stored: str) -> str:
        """A name for types that do not fit into one line."""
        name = self._new_name("", owner, f"{stored} type")
        lines = "".join(f"    {each},\n" for each in types)
        self._blocks.append(f"{name} = Union[\n{lines}]\n")
        return name

    def _parts(self, shape: Shape, owner: str, stored: str) -> Iterator[str]:
        if shape.anything:
            yield "JsonValue"
        elif shape.literals is not None:
            yield self._literal(shape.literals, owner, stored)
        else:
            yield from _scalars(shape)
        if shape.items is not None:
            yield f"list[{self._annotation(shape.items, owner, f'{stored} item')}]"
        if shape.members:
            yield self._object(shape, owner, stored)
        elif shape.values is not None or shape.members is not None:
            values = shape.values or Shape()
            yield f"dict[str, {self._annotation(values, owner, f'{stored} value')}]"

    def _literal(self, values: list[JsonValue], owner: str, stored: str) -> str:
        """The only values; many of them have a name of their own."""
        written = [quoted(each) if isinstance(each, str) else repr(each) for each in values]
        short = f"Literal[{', '.join(written)}]"
        if len(short) <= _WIDTH // 2:
            return short
        name = self._new_name("", owner, stored)
        lines = "".join(f"    {each},\n" for each in written)
        self._blocks.append(f"{name} = Literal[\n{lines}]\n")
        return name

    def _object(self, shape: Shape, owner: str, stored: str) -> str:
        """The class of an object; one that is part of itself is named before it is there."""
        if id(shape) in self._classes:
            return self._classes[id(shape)]
        name = self._new_name(shape.title, owner, stored)
        self._classes[id(shape)] = name
        head = f"class {name}(BaseModel):"
        about = f"What is in {_shown(stored)} of {owner}."
        self._unwritten.add(name)
        self._class(head, about, name, shape.members or {}, of_record=False)
        self._unwritten.discard(name)
        return name

    def _new_name(self, title: str, owner: str, stored: str) -> str:
        wanted = class_name(title) if title else class_name(owner, stored)
        if len(wanted) > _LONGEST_NAME:
            wanted = class_name(stored)[:_LONGEST_NAME]
        return self._names.unique(wanted)

    # The whole

    def __str__(self) -> str:
        if not self._blocks:
            return f'"""{self.about}"""\n'
        body = "\n\n".join(self._blocks)
        parts = [_IS_NONE] if "exclude_if=is_none" in body else []
        head = "\n".join([f'"""{self.about}"""', "", *_imports(body)]) + "\n"
        return "\n\n".join([head, *parts, body])


_ALIASES = ("validation", "serialization")

_IS_NONE = '''\
def is_none(value: object) -> bool:
    """Whether a field is left out, as it may be missing and may not be null."""
    return value is None
'''


def _scalars(shape: Shape) -> Iterator[str]:
    """The types of texts and numbers; one type of a text alone, for others may look like it."""
    are_floats = "float" in shape.kinds and not shape.large
    for kind, name in _SCALARS.items():
        if kind in shape.kinds and not (kind == "int" and are_floats):
            yield name
    if "text" in shape.kinds:
        formats = shape.formats or set()
        wanted = [each for each in TYPES if each in formats]
        if not shape.declared:
            wanted = [each for each in wanted if each in GUESSED]
        yield TYPES[wanted[0]] if wanted and shape.kinds == {"text"} else "str"


def _default(member: Member) -> str | None:
    """The default that a schema says, where it is one of the field's plain values."""
    value, shape = member.default, member.shape
    if shape.literals is not None:
        fits = any(type(value) is type(each) and value == each for each in shape.literals)
    else:
        kind = {bool: "bool", int: "int", str: "text"}.get(type(value))
        fits = kind in shape.kinds and not (kind == "text" and shape.formats)
    if not fits:
        return None
    return quoted(value) if isinstance(value, str) else repr(value)


def _call(head: str, arguments: list[str], tail: str, indent: int = 0) -> str:
    """A call, or what looks like one, in one line or with an argument in each."""
    line = f"{head}({', '.join(arguments)}){tail}"
    if indent + len(line.lstrip()) <= _WIDTH:
        return line
    space = " " * indent
    inside = "".join(f"{space}    {each},\n" for each in arguments)
    return f"{head}(\n{inside}{space}){tail}"


def _imports(body: str) -> Iterator[str]:
    """The imports that a module needs, in the usual order."""
    used = {each for each in (*_STANDARD, *_PYDANTIC) if re.search(rf"\b{each}\b", body)}
    if "dt" in used:
        yield _STANDARD["dt"]
    modules = sorted({_STANDARD[each] for each in used & _STANDARD.keys()} - {_STANDARD["dt"]})
    for module in modules:
        names = sorted(each for each in used if _STANDARD.get(each) == module)
        yield f"from {module} import {', '.join(names)}"
    if used & _STANDARD.keys():
        yield ""
    yield "from kinto_orm import Record"
    if used & set(_PYDANTIC):
        yield f"from pydantic import {', '.join(sorted(used & set(_PYDANTIC)))}"


def quoted(text: str) -> str:
    """A text as a Python literal, with the quotes that ruff prefers."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    inside = "".join(
        f"\\{each}" if each in (quote, "\\") else each if each.isprintable() else repr(each)[1:-1]
        for each in text
    )
    return f"{quote}{inside}{quote}"


def _shown(stored: str) -> str:
    """A stored name for a docstring."""
    return "".join(each for each in stored if each.isprintable() and each not in '"\\')
