"""Compiling templates, and what can be told of one without running it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import jinja2
from jinja2 import nodes

from kinto_orm.errors import RenderLimit, TemplateError, TemplateSyntaxError
from kinto_orm.rendering.generator import Generator
from kinto_orm.rendering.limits import Limits
from kinto_orm.rendering.run import VALUES, Document
from kinto_orm.rendering.sandbox import Sandbox, environment
from kinto_orm.wire.forking import cached_property

_Reference = nodes.Include | nodes.Extends | nodes.Import | nodes.FromImport
_REFERENCES: tuple[type[_Reference], ...] = (
    nodes.Include,
    nodes.Extends,
    nodes.Import,
    nodes.FromImport,
)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one template refers to.

    Args:
        names: Names that it takes from the values, `values` among them.
        functions: Names of Jinja2's functions that it uses; a stored key of such a name wins.
        keys: Constant keys of `values`.
        everything: It may take any value, or include any template.
        templates: Templates that it includes, extends or imports by a constant name.
    """

    names: frozenset[str]
    functions: frozenset[str]
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
    Compiled(Document(name, source, None), limits).code  # noqa: B018


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
    analysis = Compiled(Document(name, source, None), Limits()).analysis
    return (analysis.names - {VALUES}) | analysis.keys


def placed(
    kind: type[TemplateError], text: str, name: str, lineno: int | None = None
) -> TemplateError:
    """Make an error that says in its message, too, in which template and line it is."""
    line = f", line {lineno}" if lineno else ""
    return kind(f"template {name!r}{line}: {text}", name=name, lineno=lineno)


class Compiled:
    """One template: its code, and what it refers to; both are made when first asked for.

    Raises:
        TemplateSyntaxError: When asked for them: it does not compile.
        RenderLimit: When asked for them: it is too long or too deeply nested.
    """

    def __init__(self, stored: Document, limits: Limits) -> None:
        self._stored = stored
        self._env = environment(limits)

    def still(self, stored: Document) -> bool:
        """Tell whether this is that template, unchanged."""
        return self._stored.etag == stored.etag and (
            stored.etag is not None or self._stored.source == stored.source
        )

    @property
    def code(self) -> types.CodeType:
        """The Python code."""
        return self._made[0]

    @property
    def analysis(self) -> Analysis:
        """What it refers to."""
        return self._made[1]

    @cached_property
    def _made(self) -> tuple[types.CodeType, Analysis]:
        with _compiling(self._stored.name):
            tree = self._parse()
            generator = Generator(self._env, self._stored.name)
            code = compile(generator.generate(tree), "<template>", "exec")
            return code, _analysed(tree, frozenset(generator.found), self._env)

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
        failure = placed(TemplateSyntaxError, error.message or "", name, error.lineno)
    except (RecursionError, MemoryError):
        failure = placed(RenderLimit, "nested too deeply", name)
    except RenderLimit as error:
        failure = placed(RenderLimit, str(error), name)
    except Exception as error:  # noqa: BLE001
        failure = placed(TemplateSyntaxError, f"cannot be compiled: {error}", name)
    raise failure


def _refuse_unknown(tree: nodes.Template, env: Sandbox) -> None:
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        what = "filter" if isinstance(node, nodes.Filter) else "test"
        known = env.filters if isinstance(node, nodes.Filter) else env.tests
        if node.name not in known:
            raise jinja2.TemplateSyntaxError(f"there is no {what} named {node.name!r}", node.lineno)


def _analysed(tree: nodes.Template, found: frozenset[str], env: Sandbox) -> Analysis:
    everything, keys = _keys(tree) if VALUES in found else (False, frozenset())
    templates: list[str] = []
    for node in tree.find_all(_REFERENCES):
        constant = _constants(node.template)
        everything = everything or constant is None
        templates.extend(constant or ())
    functions = found & env.globals.keys()
    return Analysis(
        found - functions,
        functions,
        keys,
        everything,
        tuple(templates),
    )


def _keys(tree: nodes.Template) -> tuple[bool, frozenset[str]]:
    """Find the keys that `values` is asked for, and whether those are all."""
    uses = sum(node.name == VALUES and node.ctx == "load" for node in tree.find_all(nodes.Name))
    keys = [key for node in tree.find_all(nodes.Getitem) for key in _item_key(node)]
    keys += [key for node in tree.find_all(nodes.Getattr) for key in _attribute_key(node)]
    return len(keys) < uses, frozenset(keys)


def _item_key(node: nodes.Getitem) -> list[str]:
    constant = isinstance(node.arg, nodes.Const) and _is_values(node.node)
    return (constant and _constants(node.arg)) or []


def _attribute_key(node: nodes.Getattr) -> list[str]:
    return [node.attr] if _is_values(node.node) and node.attr not in dir(dict) else []


def _is_values(node: nodes.Expr) -> bool:
    return isinstance(node, nodes.Name) and node.name == VALUES


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
