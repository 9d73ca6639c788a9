"""Templates: text and JSON in, text out.

Everything here is pure: it knows neither Kinto nor sessions. Templates come from a function
that is given (`Load`), values are plain JSON, and what a template may do is limited; see
`Limits` and `kinto_orm.sandbox`.

Two modes. With `isolation="none"` a template runs in the process of the caller: fast, for
templates whose authors you trust. Growth is measured before it happens, and time is looked
at in loops, calls and filters, but a few operations of Python cannot be stopped from within.
With `isolation="process"` it runs in a limited process of its own, which is killed when it
passes a limit: for all other templates.
"""

from __future__ import annotations

import functools
import json
import threading
import traceback
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.compiler import Frame
from jinja2.exceptions import SecurityError
from jinja2.idtracking import VAR_LOAD_RESOLVE

from kinto_orm import isolation as isolation_
from kinto_orm.errors import (
    ConfigurationError,
    RenderLimit,
    TemplateError,
    TemplateSyntaxError,
    UndefinedVariable,
)
from kinto_orm.limits import Limits, weigh
from kinto_orm.sandbox import (
    Generator,
    Load,
    LoadFailed,
    Run,
    Sandbox,
    Shelf,
    Stored,
    UndefinedMode,
    current_run,
    environment,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = [
    "VALUES",
    "Limits",
    "Load",
    "Needs",
    "Renderer",
    "Stored",
    "check",
    "parse_json",
    "parse_yaml",
    "variables",
]

VALUES = "values"
"""The mapping of all values, for keys that are no identifiers: `{{ values["my-key"] }}`.

A stored root key of the same name wins.
"""

_KEPT = 256
_DEEPEST = 200


@dataclass(frozen=True, slots=True)
class Needs:
    """Which values a template may take, with all that it includes, extends and imports.

    Args:
        names: Root keys; also `values`, when the template uses that name.
        everything: It cannot be said beforehand, so that any root key may be needed: the
            template uses `values` as a whole or with a calculated key, or includes a template
            by a calculated name.
    """

    names: frozenset[str]
    everything: bool


@dataclass(frozen=True, slots=True)
class _Analysis:
    names: frozenset[str]
    keys: frozenset[str]
    everything: bool
    templates: tuple[str, ...]


def check(source: str, name: str, limits: Limits = Limits()) -> None:  # noqa: B008
    """Refuse a template that cannot work, without evaluating anything of it.

    Args:
        source: The Jinja2 source.
        name: Its name, for the error.
        limits: Only `source` counts here.

    Raises:
        TemplateSyntaxError: It does not parse, or names an unknown filter or test.
        RenderLimit: It is too long, or too deeply nested.
    """
    _Compiled(Stored(name, source, None), limits).code  # noqa: B018


def variables(source: str, name: str) -> frozenset[str]:
    """Tell which names a template takes from the values.

    Names that it sets itself are left out, as are those of Jinja2's functions. Keys that are
    reached by `values["my-key"]` are among them, the name `values` is not.

    Args:
        source: The Jinja2 source.
        name: Its name, for the error.

    Raises:
        TemplateSyntaxError: It does not parse.
    """
    analysis = _Compiled(Stored(name, source, None), Limits()).analysis
    return (analysis.names - {VALUES}) | analysis.keys


class Renderer:
    """Renders stored templates; compiled ones are kept until their ETag changes.

    Threads may share one.

    Args:
        load: Gives a stored template by name. It is asked once for each template of a render;
            what it raises comes out of `render` unchanged.
        limits: What one render may use.
    """

    def __init__(self, load: Load, limits: Limits = Limits()) -> None:  # noqa: B008
        self._load = load
        self._limits = limits
        self._compiled: OrderedDict[str, _Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def variables(self, name: str) -> frozenset[str]:
        """Tell which names a stored template takes from the values.

        It follows includes, extends and imports by constant names. For a calculated name it
        cannot: then `needs(name).everything` is true.

        Raises:
            TemplateError: There is no such template, or one of them does not parse.
        """
        analyses = self._analyses(name)
        return frozenset().union(*(each.names - {VALUES} | each.keys for each in analyses))

    def needs(self, name: str) -> Needs:
        """Tell which values have to be fetched to render a stored template.

        Raises:
            TemplateError: There is no such template, or one of them does not parse.
        """
        analyses = self._analyses(name)
        names = frozenset().union(*(each.names | each.keys for each in analyses))
        return Needs(names, any(each.everything for each in analyses))

    def render(
        self,
        name: str,
        values: Mapping[str, JsonValue],
        *,
        undefined: UndefinedMode = "strict",
        isolation: Literal["none", "process"] = "none",
    ) -> str:
        """Render a stored template.

        Args:
            name: Its name. Names that end in .html, .htm or .xml (with .j2, .jinja or
                .jinja2 after it or not) escape the values for HTML.
            values: JSON values by root key.
            undefined: "strict": a value that is not there is an error; "lenient": it is
                written as nothing.
            isolation: "none": in this process, for templates that you trust; "process": in a
                limited process of its own, for others.

        Raises:
            UndefinedVariable: A value is not there.
            RenderLimit: A limit was passed; the message names it.
            TemplateError: Anything else that goes wrong in a template; `name` and `lineno`
                say where.
        """
        if undefined not in ("strict", "lenient") or isolation not in ("none", "process"):
            raise ValueError("undefined is 'strict' or 'lenient', isolation 'none' or 'process'")
        _refuse_objects(name, values, self._limits)
        try:
            if isolation == "process":
                return isolation_.render(self._load, self._limits, name, values, undefined)
            return self._render(name, values, undefined)
        except Exception as error:  # noqa: BLE001
            failure = _explained(error, name)
        # Not in the except clause: the frames of the template hold the values.
        raise failure

    def _render(
        self, name: str, values: Mapping[str, JsonValue], undefined: UndefinedMode
    ) -> str:
        shelf = Shelf(self._load, self._limits)
        run = Run(self._limits, shelf, lambda stored: self._compile(stored).code)
        token = current_run.set(run)
        try:
            template = environment(self._limits, undefined).get_template(name)
            context = template.new_context({VALUES: dict(values), **values})
            return "".join(template.root_render_func(context))
        finally:
            current_run.reset(token)

    def _compile(self, stored: Stored) -> _Compiled:
        with self._lock:
            kept = self._compiled.pop(stored.name, None)
            if kept is None or not kept.still(stored):
                kept = _Compiled(stored, self._limits)
            self._compiled[stored.name] = kept
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return kept

    def _analyses(self, name: str) -> list[_Analysis]:
        shelf = Shelf(self._load, self._limits)
        found: dict[str, _Analysis | None] = {}
        todo = [name]
        try:
            while todo:
                each = todo.pop()
                if each not in found:
                    stored = shelf.get(each)
                    found[each] = stored and self._compile(stored).analysis
                    todo.extend(found[each].templates if found[each] else ())
        except (LoadFailed, RenderLimit) as error:
            failure = _explained(error, name)
        else:
            if found[name] is None:
                raise TemplateError(f"there is no template named {name!r}", name=name)
            return [analysis for analysis in found.values() if analysis]
        raise failure


class _Compiled:
    """One template: its code, and what it refers to; each is made when first asked for."""

    def __init__(self, stored: Stored, limits: Limits) -> None:
        self._stored = stored
        self._env = environment(limits)

    def still(self, stored: Stored) -> bool:
        """Tell whether this is that template, unchanged."""
        return self._stored.etag == stored.etag and (
            stored.etag is not None or self._stored.source == stored.source
        )

    @functools.cached_property
    def code(self) -> types.CodeType:
        with _compiling(self._stored.name):
            return self._env.compile(self._parse(), self._stored.name)

    @functools.cached_property
    def analysis(self) -> _Analysis:
        with _compiling(self._stored.name):
            return _analysed(self._parse(), self._env)

    def _parse(self) -> nodes.Template:
        if len(self._stored.source) > self._env.limits.source:
            raise RenderLimit(f"source over {self._env.limits.source} characters")
        tree = self._env.parse(self._stored.source, self._stored.name)
        _refuse_unknown(tree, self._env)
        return tree


@contextmanager
def _compiling(name: str) -> Iterator[None]:
    failure: TemplateError
    try:
        yield
        return
    except jinja2.TemplateSyntaxError as error:
        failure = _placed(TemplateSyntaxError, error.message or "", name, error.lineno)
    except (RecursionError, MemoryError):
        failure = _placed(RenderLimit, "nested too deeply", name)
    except RenderLimit as error:
        failure = _placed(RenderLimit, str(error), name)
    except Exception as error:  # noqa: BLE001
        failure = _placed(TemplateSyntaxError, f"cannot be compiled: {error}", name)
    raise failure


def _refuse_unknown(tree: nodes.Template, env: Sandbox) -> None:
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        what = "filter" if isinstance(node, nodes.Filter) else "test"
        known = env.filters if isinstance(node, nodes.Filter) else env.tests
        if node.name not in known:
            raise jinja2.TemplateSyntaxError(f"there is no {what} named {node.name!r}", node.lineno)


class _Names(Generator):
    """Collects the names that Jinja2's own scoping leaves to the values; writes no code."""

    def __init__(self, env: Sandbox) -> None:
        super().__init__(env, "", "", optimized=False)
        self.found: set[str] = set()

    def write(self, x: str) -> None:
        """Write nothing."""

    def enter_frame(self, frame: Frame) -> None:
        """Look at the names that are loaded in a scope."""
        super().enter_frame(frame)
        for action, name in frame.symbols.loads.values():
            if action == VAR_LOAD_RESOLVE and name and name not in self.environment.globals:
                self.found.add(name)


def _analysed(tree: nodes.Template, env: Sandbox) -> _Analysis:
    names = _Names(env)
    names.visit(tree)
    everything, keys = _keys(tree) if VALUES in names.found else (False, frozenset())
    templates: list[str] = []
    for node in tree.find_all(
        (nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)
    ):
        constant = _constants(node.template)
        everything = everything or constant is None
        templates.extend(constant or ())
    return _Analysis(frozenset(names.found), keys, everything, tuple(templates))


def _keys(tree: nodes.Template) -> tuple[bool, frozenset[str]]:
    """Find the keys that `values` is asked for, and whether those are all."""
    uses = sum(node.name == VALUES and node.ctx == "load" for node in tree.find_all(nodes.Name))
    keys = [
        key
        for node in tree.find_all((nodes.Getitem, nodes.Getattr))
        if isinstance(node.node, nodes.Name) and node.node.name == VALUES
        for key in _key(node)
    ]
    return len(keys) < uses, frozenset(keys)


def _key(node: nodes.Getitem | nodes.Getattr) -> list[str]:
    if isinstance(node, nodes.Getattr):
        return [] if node.attr in dir(dict) else [node.attr]
    return _constants(node.arg) or [] if isinstance(node.arg, nodes.Const) else []


def _constants(node: nodes.Expr | None) -> list[str] | None:
    """Give the texts that an expression may be, None when that cannot be said."""
    if isinstance(node, nodes.Const):
        return [node.value] if isinstance(node.value, str) else None
    if isinstance(node, (nodes.List, nodes.Tuple)):
        parts = [_constants(item) for item in node.items]
    elif isinstance(node, nodes.CondExpr):
        parts = [_constants(node.expr1), _constants(node.expr2)]
    else:
        return None
    return None if None in parts else [text for part in parts for text in part or ()]


def _refuse_objects(name: str, values: Mapping[str, JsonValue], limits: Limits) -> None:
    """Refuse anything but plain JSON: a template could call the methods of an object."""
    stack: list[tuple[object, object, int]] = [(key, value, 1) for key, value in values.items()]
    room = limits.value // 8
    for key in values:
        _refuse(type(key) is not str, name, f"the key {key!r} is not a text")
    while stack:
        key, value, depth = stack.pop()
        room -= 1
        if depth > _DEEPEST or room < 0:
            what = f"nested deeper than {_DEEPEST} levels" if room >= 0 else "too large"
            raise _placed(RenderLimit, f"the value of {key!r} is {what}", name)
        kind = type(value)
        if isinstance(value, dict) and kind is dict:
            _refuse(any(type(k) is not str for k in value), name, f"{key!r} has a key, no text")
            stack.extend((key, item, depth + 1) for item in value.values())
        elif isinstance(value, list) and kind is list:
            stack.extend((key, item, depth + 1) for item in value)
        else:
            known = kind in (str, int, float, bool, type(None))
            _refuse(not known, name, f"the value of {key!r} is no plain JSON: {kind.__name__}")


def _refuse(wrong: bool, name: str, text: str) -> None:
    if wrong:
        raise _placed(TemplateError, text, name)
