"""Reading a rendered text as JSON or YAML."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

from kinto_orm.errors import ConfigurationError, RenderLimit, TemplateError
from kinto_orm.rendering.compiling import placed

if TYPE_CHECKING:
    from pydantic import JsonValue
    from yaml.nodes import Node

_TAG = "tag:yaml.org,2002:"
_SCALARS = ("bool", "float", "int", "null", "str")
_NODES = 20_000
"""How many keys and values a YAML text may have, and stand for with its aliases written out."""
_DEEPEST = 100
_TOO_MANY = f"the rendered YAML stands for more than {_NODES} values"
_TOO_DEEP = "the rendered YAML is nested too deeply"


def parse_json(text: str, name: str) -> JsonValue:
    """Read a rendered text as JSON.

    Args:
        text: What a template rendered to.
        name: The template, for the error.

    Raises:
        TemplateError: It is no JSON; `lineno` is the line of the rendered text.
        RenderLimit: It is nested too deeply.
    """
    try:
        value: JsonValue = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        lineno, failure = error.lineno, error.msg
    except ValueError as error:
        lineno, failure = None, str(error)
    except RecursionError:
        raise placed(RenderLimit, "the rendered JSON is nested too deeply", name) from None
    else:
        return value
    raise _unreadable("JSON", failure, name, lineno)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON value")


def _unreadable(what: str, failure: str, name: str, lineno: int | None) -> TemplateError:
    line = f"line {lineno} of what " if lineno else "what "
    return TemplateError(
        f"{line}template {name!r} rendered to is no {what}: {failure}", name=name, lineno=lineno
    )


def parse_yaml(text: str, name: str) -> JsonValue:
    """Read a rendered text as YAML, as far as JSON has the same values.

    Dates stay texts. Keys have to be texts; `80: http` is refused, `"80": http` is not.

    Args:
        text: What a template rendered to.
        name: The template, for the error.

    Raises:
        ConfigurationError: PyYAML is not installed.
        TemplateError: It is no YAML, or no plain JSON values; `lineno` is the line of the
            rendered text.
        RenderLimit: It is nested too deeply, or its aliases stand for too many values.
    """
    try:
        import yaml  # not a dependency of the package
    except ImportError:
        raise ConfigurationError(
            "reading YAML needs the package PyYAML: pip install pyyaml"
        ) from None
    try:
        node = _composed(text, name)
        return None if node is None else _Plain(name).value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lineno, failure = mark.line + 1 if mark else None, error.problem or str(error)
    except (yaml.YAMLError, ValueError) as error:
        lineno, failure = None, str(error)
    except RecursionError:
        raise placed(RenderLimit, _TOO_DEEP, name) from None
    raise _unreadable("YAML", failure, name, lineno)


def _composed(text: str, name: str) -> Node | None:
    """Read YAML into nodes, and stop as soon as they are too many or too deep.

    PyYAML is slow: some thousand nodes take as long as rendering a whole megabyte of text.
    """
    import yaml

    class Limited(yaml.SafeLoader):
        room, depth = _NODES, 0

        def compose_node(self, parent: Node | None, index: int) -> Node | None:
            self.room -= 1
            self.depth += 1
            if self.room < 0:
                raise placed(RenderLimit, _TOO_MANY, name)
            if self.depth > _DEEPEST:
                raise placed(RenderLimit, _TOO_DEEP, name)
            found: Node | None = super().compose_node(parent, index)
            self.depth -= 1
            return found

    return yaml.compose(text, Loader=Limited)


class _Plain:
    """Makes JSON values of YAML nodes; each use of an alias is counted as what it stands for."""

    def __init__(self, name: str) -> None:
        from yaml.constructor import SafeConstructor

        self._name = name
        self._room = _NODES
        self._constructor = SafeConstructor()

    def value(self, node: Node) -> Any:
        self._room -= 1
        if self._room < 0:
            raise placed(RenderLimit, _TOO_MANY, self._name)
        kind = node.tag.removeprefix(_TAG)
        if kind == "seq" and isinstance(node.value, list):
            return [self.value(item) for item in node.value]
        if kind == "map" and isinstance(node.value, list):
            return self._mapping(node)
        if kind == "timestamp":
            return node.value
        if kind not in _SCALARS:
            raise _misplaced(f"{node.tag} is no JSON value", node)
        value = self._constructor.construct_object(node)
        if isinstance(value, float) and not math.isfinite(value):
            raise _misplaced(f"{node.value} is no JSON value", node)
        return value

    def _mapping(self, node: Node) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag == f"{_TAG}merge":
                merged = self._merged(item) | merged
            elif key.tag == f"{_TAG}str":
                own[key.value] = self.value(item)
            else:
                raise _misplaced(f"the key {key.value!r:.50} is no text: put it in quotes", key)
        return merged | own

    def _merged(self, node: Node) -> dict[str, Any]:
        values = self.value(node)
        merged: dict[str, Any] = {}
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, dict):
                raise _misplaced("only mappings can be merged with <<", node)
            merged = value | merged
        return merged


def _misplaced(text: str, node: Node) -> Exception:
    from yaml import MarkedYAMLError

    return MarkedYAMLError(problem=text, problem_mark=node.start_mark)
