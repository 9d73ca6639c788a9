"""What a template may do: the limits, and the Jinja2 environment that holds them.

Jinja2's own sandbox blocks the way to Python's insides. This one adds what it leaves open:
nothing is evaluated while a template compiles, every growing operation is measured before it
runs, and only harmless methods of strings, lists and mappings can be called.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, ValuesView
from typing import Any, Literal

from jinja2 import BaseLoader, Environment, Undefined
from jinja2 import Template as JinjaTemplate
from jinja2.environment import TemplateModule
from jinja2.runtime import Context
from jinja2.sandbox import (
    MAX_RANGE,
    ImmutableSandboxedEnvironment,
    SandboxedEscapeFormatter,
    SandboxedFormatter,
)
from jinja2.utils import Namespace, generate_lorem_ipsum
from markupsafe import Markup

from kinto_orm.errors import RenderLimit
from kinto_orm.rendering import limits as sizes
from kinto_orm.rendering.generator import Generator
from kinto_orm.rendering.limits import Buffer, Limits
from kinto_orm.rendering.run import current_run
from kinto_orm.rendering.values import (
    CODE,
    VALUES,
    Items,
    Lenient,
    Strict,
    measure,
    measure_given,
    takes_values_only,
    text_of_module,
    to_json,
)

UndefinedMode = Literal["strict", "lenient"]


class Loader(BaseLoader):
    """Gives the templates of the render that is going on."""

    def load(self, environment: Environment, name: Any, globals: Any = None) -> JinjaTemplate:
        """Load a template for include, extends or import."""
        if isinstance(name, Undefined):
            name._fail_with_undefined_error()
        if not isinstance(name, str):
            raise TypeError(f"a template's name is a text, not {type(name).__name__}")
        return current_run.get().template(environment, name, globals)


class _Formatter(SandboxedFormatter):
    """`str.format` within the size limit."""

    _room = 0
    _env: Sandbox

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        value, first = super().get_field(field_name, args, kwargs)
        self._take(measure(value, self._env.limits.value))
        return value, first

    def format_field(self, value: Any, format_spec: str) -> Any:
        self._take(sizes.numbers_in(format_spec))
        return super().format_field(value, format_spec)

    def _take(self, size: int) -> None:
        self._room += size
        sizes.fits(self._room, self._env.limits.value)


class _EscapeFormatter(_Formatter, SandboxedEscapeFormatter):
    """The same for text that is marked as safe."""


class _Namespace(Namespace):
    def __repr__(self) -> str:
        return "<namespace>"


_UNDEFINED: dict[str, type[Undefined]] = {"strict": Strict, "lenient": Lenient}
_MAY_BE_UNDEFINED = frozenset({"d", "default", "defined", "undefined"})
"""The filters and tests that are made for a value that is not there."""

_ESCAPED = re.compile(r"\.(html?|xhtml|xml|svg)(\.(j2|jinja2?|tpl|tmpl|template))?$", re.IGNORECASE)
_TAKE_ANYTHING = {"attr": 1, "d": 2, "default": 2}
"""The filters that look into an object, or give it back, and how many of their arguments may be
code: they write nothing."""
_SCALARS = (str, int, float, type(None))
_STRING = frozenset(dir(str)) - {"encode", "expandtabs", "translate", "maketrans"} | frozenset(
    {"escape", "striptags", "unescape"}
)
_ATTRIBUTES: tuple[tuple[Any, frozenset[str]], ...] = (
    (str, _STRING),
    (dict, frozenset({"get", "items", "keys", "values"})),
    ((list, tuple), frozenset({"count", "index", "grouper", "list"})),
    ((int, float, complex, bytes, type, KeysView, ValuesView, ItemsView), frozenset()),
    (CODE, frozenset()),
)
"""What a template may call on plain values; the rest could make values without limit."""


def autoescape(name: str | None) -> bool:
    """Tell whether a template of that name escapes for HTML: `page.html`, `feed.xml.j2`.

    The names are those of Flask; after them may stand what editors and other tools call a template.
    """
    return _ESCAPED.search(name or "") is not None


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of all templates; it holds no state of a render.

    Args:
        limits: What a render may use.
        undefined: What a value that is not there does.
    """

    code_generator_class = Generator
    intercepted_binops = frozenset(sizes.OPERATORS)

    def __init__(self, limits: Limits, undefined: UndefinedMode) -> None:
        super().__init__(
            keep_trailing_newline=True,
            optimized=False,
            undefined=_UNDEFINED[undefined],
            finalize=self.measured,
            autoescape=autoescape,
            loader=Loader(),
            cache_size=0,
        )
        self.limits = limits
        self.globals.update(range=self._range, lipsum=self._lipsum, namespace=_Namespace)
        self.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": to_json}
        for name, function in self.filters.items():
            if name not in _MAY_BE_UNDEFINED:
                function = _defined(function)
            self.filters[name] = self._guarded(name, function)
        for name in self.tests.keys() - _MAY_BE_UNDEFINED:
            self.tests[name] = _defined(self.tests[name])

    def tick(self) -> None:
        """Stop the render when its time is over."""
        current_run.get().tick()

    def buffer(self) -> Buffer:
        """Make the buffer of a macro or a block."""
        return Buffer(self.limits)

    def concat(self, parts: Iterable[str]) -> str:
        """Join the texts of a block, within the output limit."""
        if not isinstance(parts, Buffer):
            buffer = self.buffer()
            buffer.extend(parts)
            parts = buffer
        return "".join(parts)

    def measured(self, value: Any) -> Any:
        """Refuse to write a list or a mapping that is over the limit for values, and code."""
        if not isinstance(value, (*_SCALARS, TemplateModule)):
            measure(value, self.limits.value)
        return value

    def joined(self, context: Context, parts: tuple[Any, ...]) -> str:
        """Join with `~`."""
        parts = tuple(map(text_of_module, parts))
        measure(parts, self.limits.value)
        if context.eval_ctx.autoescape and any(hasattr(part, "__html__") for part in parts):
            return Markup("").join(parts)
        return "".join(map(str, parts))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate, after a look at how large the result will be."""
        if operator == "%" and isinstance(left, str):
            measure(right, self.limits.value)
        sizes.OPERATORS[operator](self.limits.value, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a macro or a method."""
        __self.tick()
        if takes_values_only(__obj):
            measure((args, kwargs), __self.limits.value)
        text, check = getattr(__obj, "__self__", None), None
        if isinstance(text, str):
            check = sizes.METHODS.get(__obj.__name__)
        if check is not None:
            args = tuple(map(sizes.settled, args))
            check(__self.limits.value, text, *args)
        return super().call(__context, __obj, *args, **kwargs)

    def function(self, name: str, found: Any) -> Any:
        """Give what `name()` calls: the function, since JSON that is stored cannot be called."""
        return found if callable(found) else self.globals[name]

    def method(self, obj: Any, attribute: str) -> Any:
        """Give what `obj.attribute()` calls: the method, since JSON cannot be called."""
        if isinstance(obj, dict):
            found = obj.get(attribute)
            if callable(found) and not isinstance(found, Undefined):
                return found
        return super().getattr(obj, attribute)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Give `obj.attribute`; a mapping's keys come before its methods."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, Items):
            return self.unsafe_undefined(obj, attribute)
        return super().getattr(obj, attribute)

    def root_attribute(self, obj: Any, attribute: str) -> Any:
        """Give `values.attribute`."""
        return _or_root(self.getattr(obj, attribute), attribute)

    def root_item(self, obj: Any, argument: Any) -> Any:
        """Give `values[argument]`."""
        return _or_root(self.getitem(obj, argument), argument)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Give `obj[argument]`; of a value these are its items only, not its methods."""
        measure(argument, self.limits.value)
        if isinstance(obj, dict):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                return self.undefined(obj=obj, name=argument)
        found = super().getitem(obj, argument)
        if isinstance(found, CODE) and isinstance(obj, VALUES) and isinstance(argument, str):
            return self.undefined(obj=obj, name=argument)
        return found

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may see this attribute."""
        allowed = next((names for kind, names in _ATTRIBUTES if isinstance(obj, kind)), None)
        return super().is_safe_attribute(obj, attr, value) and (allowed is None or attr in allowed)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Give `str.format` in a form that looks at widths and at attributes."""
        if super().wrap_str_format(value) is None:
            return None
        text = value.__self__
        by_name = value.__name__ == "format_map"

        def formatted(*args: Any, **kwargs: Any) -> str:
            if by_name:
                (kwargs,), args = args, ()
            if isinstance(text, Markup):
                safe = _EscapeFormatter(self, escape=text.escape).vformat(text, args, kwargs)
                return Markup(safe)  # noqa: S704
            return _Formatter(self).vformat(text, args, kwargs)

        return formatted

    def _guarded(self, name: str, function: Callable[..., Any]) -> Any:
        first = 1 if hasattr(function, "jinja_pass_arg") else 0
        check = sizes.FILTERS.get(name)
        untouched = first + _TAKE_ANYTHING.get(name, 0)

        @functools.wraps(function)
        def filtered(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            args = (*args[:untouched], *map(text_of_module, args[untouched:]))
            if check is not None:
                args = (*args[:first], *map(sizes.settled, args[first:]))
            measure_given((args[untouched:], kwargs), self.limits.value)
            if check is not None:
                check(self.limits.value, *args[first:], **kwargs)
            return self._bounded(function(*args, **kwargs))

        return filtered

    def _bounded(self, result: Any) -> Any:
        if isinstance(result, Iterator):
            return Items(result, self.limits.value, self.tick)
        sizes.fits(sizes.size(result), self.limits.value)
        return result

    def _range(self, *args: int) -> range:
        found = range(*args)
        if len(found) > MAX_RANGE:
            raise RenderLimit(f"a range over {MAX_RANGE} items")
        return found

    def _lipsum(self, n: int = 5, html: bool = True, min: int = 20, max: int = 100) -> str:
        sizes.fits(n * max * 10, self.limits.output)
        return generate_lorem_ipsum(n, html, min, max)


def _or_root(found: Any, key: object) -> Any:
    """Give a root key's value where a stored value named `values` has none of this name."""
    roots = current_run.get().values
    missing = isinstance(found, Undefined) and isinstance(key, str) and key in roots
    return roots[str(key)] if missing else found


def _defined(function: Any) -> Any:
    """Let a filter or a test fail on a value that is not there, if that is to be an error."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if len(args) > first and isinstance(args[first], Strict):
            args[first]._fail_with_undefined_error()
        return function(*args, **kwargs)

    return checked


@functools.lru_cache(maxsize=16)
def environment(limits: Limits, undefined: UndefinedMode = "strict") -> Sandbox:
    """Give the environment for these limits; renderers share it."""
    return Sandbox(limits, undefined)
