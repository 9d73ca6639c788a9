"""The renderer of stored templates."""

from __future__ import annotations

import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar

import jinja2
from jinja2.exceptions import SecurityError, TemplateNotFound, UndefinedError

from kinto_orm.errors import (
    ConfigurationError,
    RenderBusy,
    RenderLimit,
    TemplateError,
    UndefinedVariable,
    wrong_option,
)
from kinto_orm.rendering import isolation as isolation_
from kinto_orm.rendering.compiling import Analysis, Compiled, placed
from kinto_orm.rendering.limits import Limits
from kinto_orm.rendering.run import (
    VALUES,
    Document,
    Load,
    LoadFailed,
    Needs,
    Run,
    Shelf,
    Values,
    current_run,
)
from kinto_orm.rendering.sandbox import UndefinedMode, environment
from kinto_orm.rendering.worker import OUT_OF_MEMORY

if TYPE_CHECKING:
    from pydantic import JsonValue


T = TypeVar("T")
Isolation = Literal["none", "process"]

_KEPT = 256
_DEEPEST = 200


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
        self._compiled: OrderedDict[str, Compiled] = OrderedDict()
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

    def needs(self, name: str, *, isolation: Isolation = "none") -> Needs:
        """Tell which values have to be fetched to render a stored template.

        Args:
            name: Its name.
            isolation: As in `render`: parsing many long templates takes a while, too.

        Raises:
            TemplateError: There is no such template, or one of them does not parse.
        """
        if isolation == "process":
            return self._isolated(name, isolation_.needs)
        return _needs_of(self._analyses(name))

    def check(self, name: str, *, isolation: Isolation = "none") -> None:
        """Refuse a stored template that cannot work; see `rendering.check`.

        Args:
            name: Its name.
            isolation: As in `render`.

        Raises:
            TemplateSyntaxError: It does not parse, or names an unknown filter or test.
            RenderLimit: It is too long, or too deeply nested.
            TemplateError: There is no such template.
        """
        if isolation == "process":
            self._isolated(name, isolation_.check)
            return
        stored = Shelf(self._load, self._limits).get(name)
        if stored is None:
            raise _explained(TemplateNotFound(name), name)
        self._compile(stored).code  # noqa: B018

    def _isolated(self, name: str, ask: Callable[[Load, Limits, str], T]) -> T:
        try:
            return ask(self._load, self._limits, name)
        except Exception as error:  # noqa: BLE001
            failure = _explained(error, name)
        raise failure

    def render(
        self,
        name: str,
        values: Values,
        *,
        undefined: UndefinedMode = "strict",
        isolation: Isolation = "none",
    ) -> str:
        """Render a stored template.

        Args:
            name: Its name. Names that end in .html, .htm, .xhtml, .xml or .svg (with .j2, .jinja,
                .jinja2, .tpl, .tmpl or .template after it or not) escape the values for HTML.
            values: JSON values by root key, or a function that is asked once for those that the
                templates need; what it raises comes out unchanged.
            undefined: "strict": a value that is not there is an error; "lenient": it is
                written as nothing.
            isolation: "none": in this process, for templates that you trust; "process": in a
                limited process of its own, for others.

        Raises:
            UndefinedVariable: A value is not there.
            RenderLimit: A limit was passed; the message names it.
            RenderBusy: Too many renders were going on; only with `isolation="process"`.
            TemplateError: Anything else that goes wrong in a template; `name` and `lineno`
                say where.
        """
        if undefined not in ("strict", "lenient") or isolation not in ("none", "process"):
            raise wrong_option("undefined is 'strict' or 'lenient', isolation 'none' or 'process'")
        plain = self._plain(name, values)
        try:
            if isolation == "process":
                text = isolation_.render(self._load, self._limits, name, plain, undefined)
            else:
                text = self._render(name, plain, undefined)
            _refuse_surrogates(name, text)
            return text
        except Exception as error:  # noqa: BLE001
            failure = _explained(error, name)
        # Not in the except clause: the frames of the template hold the values.
        raise failure

    def _plain(self, name: str, values: Values) -> Values:
        """The same values, looked at now or when they are fetched."""
        if not callable(values):
            _refuse_objects(name, values, self._limits)
            return values

        def fetched(needs: Needs) -> Mapping[str, JsonValue]:
            found = values(needs)
            _refuse_objects(name, found, self._limits)
            return found

        return fetched

    def _render(self, name: str, given: Values, undefined: UndefinedMode) -> str:
        shelf = Shelf(self._load, self._limits)
        if callable(given):
            given = shelf.values(given, _needs_of(self._follow(name, shelf)))
        run = Run(self._limits, shelf, lambda stored: self._compile(stored).code, given)
        token = current_run.set(run)
        try:
            template = environment(self._limits, undefined).get_template(name)
            context = template.new_context({VALUES: dict(given), **given})
            return "".join(template.root_render_func(context))
        finally:
            current_run.reset(token)

    def references(self, stored: Document) -> tuple[str, ...]:
        """Tell which templates one refers to by constant names.

        Raises:
            TemplateError: It does not parse.
        """
        return self._compile(stored).analysis.templates

    def _compile(self, stored: Document) -> Compiled:
        with self._lock:
            kept = self._compiled.pop(stored.name, None)
            if kept is None or not kept.still(stored):
                kept = Compiled(stored, self._limits)
            self._compiled[stored.name] = kept
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return kept

    def _analyses(self, name: str) -> list[Analysis]:
        try:
            return self._follow(name, Shelf(self._load, self._limits))
        except Exception as error:  # noqa: BLE001
            failure = _explained(error, name)
        raise failure

    def _follow(self, name: str, shelf: Shelf) -> list[Analysis]:
        found: dict[str, Analysis | None] = {}
        todo = [name]
        while todo:
            each = todo.pop()
            if each not in found:
                stored = shelf.get(each)
                analysis = found[each] = self._compile(stored).analysis if stored else None
                todo.extend(analysis.templates if analysis else ())
        if found[name] is None:
            raise TemplateNotFound(name)
        return [analysis for analysis in found.values() if analysis]


def _needs_of(analyses: list[Analysis]) -> Needs:
    names = frozenset().union(*(each.names | each.functions | each.keys for each in analyses))
    return Needs(names, any(each.everything for each in analyses))


def _refuse_objects(name: str, values: Mapping[str, JsonValue], limits: Limits) -> None:
    """Refuse anything but plain JSON: a template could call the methods of an object."""
    stack: list[tuple[str, object, int]] = [(key, value, 1) for key, value in values.items()]
    room = limits.value // 8
    _refuse(any(type(key) is not str for key in values), name, "the values have a key, no text")
    while stack:
        key, value, depth = stack.pop()
        room -= 1
        if depth > _DEEPEST or room < 0:
            what = f"nested deeper than {_DEEPEST} levels" if room >= 0 else "too large"
            raise placed(RenderLimit, f"the value of {key!r} is {what}", name)
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
        raise placed(TemplateError, text, name)


def _refuse_surrogates(name: str, text: str) -> None:
    """Refuse a text that has no UTF-8, so that nobody could send or write it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        complaint = f"what it rendered to holds {half!a}: half of a surrogate pair, no character"
        raise placed(TemplateError, complaint, name) from None


_KINDS: tuple[tuple[type[Exception], type[TemplateError], str], ...] = (
    (UndefinedError, UndefinedVariable, "{error}"),
    (SecurityError, TemplateError, "{error}"),
    (RecursionError, RenderLimit, "recursion too deep"),
    (MemoryError, RenderLimit, OUT_OF_MEMORY),
    (RenderBusy, RenderBusy, "{error}"),
    (RenderLimit, RenderLimit, "{error}"),
    (TemplateError, TemplateError, "{error}"),
    (Exception, TemplateError, "{kind}: {error:.200}"),
)
"""What becomes of what a template raises: the first row that fits."""


def _explained(error: Exception, name: str) -> BaseException:
    """Make of any exception what the caller is to see of it."""
    if isinstance(error, LoadFailed) and error.__cause__ is not None:
        return error.__cause__
    if isinstance(error, ConfigurationError) or (isinstance(error, TemplateError) and error.name):
        return error.with_traceback(None)
    where = _position(error.__traceback__)
    if isinstance(error, TemplateNotFound):
        return _missing(error, name, where)
    kind, text = next(row[1:] for row in _KINDS if isinstance(error, row[0]))
    text = text.format(error=str(error), kind=type(error).__name__)
    return placed(kind, text, *(where or (name, None)))


def _missing(error: TemplateNotFound, name: str, where: tuple[str, int] | None) -> TemplateError:
    if where is None:
        return TemplateError(f"there is no template named {name!r}", name=name)
    wanted = error.templates if isinstance(error, jinja2.TemplatesNotFound) else [error.name]
    listed = ", ".join(repr(each) for each in wanted)
    found = f"there is no template named {listed}" if wanted else "an empty list names no template"
    return placed(TemplateError, found, *where)


def _position(start: TracebackType | None) -> tuple[str, int] | None:
    """Find the innermost template that was running, and its line."""
    found = None
    for frame, line in traceback.walk_tb(start):
        template = frame.f_globals.get("__jinja_template__")
        if template is not None:
            found = template.name, template.get_corresponding_lineno(line)
    return found
