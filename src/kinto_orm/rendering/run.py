"""One render while it goes on: the templates that it loaded, its depth and its time."""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from jinja2 import Environment, Template
from jinja2.exceptions import TemplateNotFound
from jinja2.runtime import Context

from kinto_orm.errors import RenderLimit
from kinto_orm.rendering.limits import Limits, check_output

if TYPE_CHECKING:
    from pydantic import JsonValue

A = TypeVar("A")
T = TypeVar("T")

VALUES = "values"
"""The mapping of all values, for keys that are no identifiers: `{{ values["my-key"] }}`.

A stored root key of the same name wins; where it has not the key that is asked for, the root key
of that name is given.
"""


@dataclass(frozen=True, slots=True)
class Document:
    """A template as it is stored.

    Args:
        name: Any text.
        source: The Jinja2 source.
        etag: What changes whenever the source does; None where there is no such thing.
    """

    name: str
    source: str
    etag: str | int | None


@dataclass(frozen=True, slots=True)
class Needs:
    """Which values a template may take, with all that it includes, extends and imports.

    Args:
        names: Root keys; also `values`, when the template uses that name, and the names of
            Jinja2's functions that it uses: a key of such a name wins.
        everything: It cannot be said beforehand, so that any root key may be needed: the
            template uses `values` as a whole or with a calculated key, or includes a template
            by a calculated name.
    """

    names: frozenset[str]
    everything: bool


Load = Callable[[str], Document | None]
"""Gives the template of a name, None when there is none."""


Values: TypeAlias = "Mapping[str, JsonValue] | Callable[[Needs], Mapping[str, JsonValue]]"
"""JSON values by root key, or what gives those that the templates need."""


class LoadFailed(Exception):
    """Carries what a `Load` or `Values` raised out of a render; it is the cause of this one."""


class Shelf:
    """What one render gets from outside: each template once, and the values."""

    def __init__(self, load: Load, limits: Limits) -> None:
        self._load = load
        self._limit = limits.templates
        self._found: dict[str, Document | None] = {}
        self.waited = 0.0
        """Seconds that this took."""

    def get(self, name: str) -> Document | None:
        """Give the template of that name, None when there is none.

        Raises:
            RenderLimit: It would be one template too many.
            LoadFailed: The loading raised something.
        """
        if name not in self._found:
            if len(self._found) >= self._limit:
                raise RenderLimit(f"more than {self._limit} templates loaded")
            self._found[name] = self._fetch(self._load, name)
        return self._found[name]

    def values(self, values: Values, needs: Needs) -> Mapping[str, JsonValue]:
        """Give the values that are needed.

        Raises:
            LoadFailed: To fetch them raised something.
        """
        return self._fetch(values, needs) if callable(values) else values

    def _fetch(self, ask: Callable[[A], T], what: A) -> T:
        started = time.monotonic()
        try:
            return ask(what)
        except Exception as error:
            raise LoadFailed from error
        finally:
            self.waited += time.monotonic() - started


class Run:
    """What one render holds: its templates, its depth, and when it has to be over."""

    def __init__(
        self,
        limits: Limits,
        shelf: Shelf,
        compiled: Callable[[Document], types.CodeType],
        values: Mapping[str, JsonValue],
    ) -> None:
        self.values = values
        self._limits = limits
        self._shelf = shelf
        self._compiled = compiled
        self._templates: dict[str, Template] = {}
        self._depth = 0
        self._started = time.monotonic() - shelf.waited

    def tick(self) -> None:
        """Stop the render when its time is over."""
        if time.monotonic() - self._started - self._shelf.waited > self._limits.wall:
            raise RenderLimit(f"time over {self._limits.wall:g} s")

    def template(self, env: Environment, name: str, scope: Any) -> Template:
        """Give the template of that name; the same one within a render.

        Raises:
            TemplateNotFound: It is not stored.
        """
        if name not in self._templates:
            stored = self._shelf.get(name)
            if stored is None:
                raise TemplateNotFound(name)
            # A template of its own for each render: Jinja2 keeps what a template exports in
            # it, and that may come from other templates, which change without this one.
            template = Template.from_code(env, self._compiled(stored), scope)
            template.root_render_func = self._metered(template.root_render_func)
            self._templates[name] = template
        return self._templates[name]

    def _metered(self, root: Callable[[Context], Iterator[str]]) -> Callable[..., Iterator[str]]:
        def rendered(context: Context) -> Iterator[str]:
            size = 0
            with self._deeper():
                for chunk in root(context):
                    size += len(chunk)
                    check_output(size, self._limits)
                    yield chunk

        return rendered

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        try:
            if self._depth > self._limits.depth:
                raise RenderLimit(
                    f"templates include each other deeper than {self._limits.depth} levels"
                )
            yield
        finally:
            self._depth -= 1


current_run: ContextVar[Run] = ContextVar("kinto_orm_template_run")
