"""What a template sees: values by their keys, code only where it is called."""

from __future__ import annotations

from typing import Any

import pytest

from kinto_orm.errors import TemplateError
from kinto_orm.rendering import Limits, Renderer, Stored


def render(source: str, /, values: dict[str, Any] | None = None, *, mode: str = "none") -> str:
    """Render a source with values by root key."""
    made = Renderer(lambda name: Stored(name, source, None), Limits())
    return made.render("t", values or {}, isolation=mode)  # type: ignore[arg-type]


# ------------------------------------------------------------------ keys and methods

JSON = [None, True, 0, 1.5, "text", ["a", "b"], {"x": 1}]
OF_DICT = sorted(name for name in dir(dict) if not name.startswith("_"))
CALLS = {
    "d.items()|map('first')|sort|join": "aitems",
    "d.keys()|sort|join(',')": "a,items",
    "d.values()|list|length": "2",
    "d.get('a')": "1",
    "d.get('b', 'c')": "c",
    "d['a']": "1",
    "d|dictsort|first|first": "a",
    "d|items|map('first')|sort|join": "aitems",
}


@pytest.mark.parametrize("value", JSON, ids=repr)
@pytest.mark.parametrize("key", OF_DICT)
@pytest.mark.parametrize("call", CALLS)
def test_no_stored_key_breaks_a_call(call: str, key: str, value: object) -> None:
    """What is called is the method, whatever key somebody stored: JSON is never callable."""
    expected = CALLS[call].replace("items", key)
    if call.startswith("d.keys"):
        expected = ",".join(sorted(["a", key]))
    elif call.endswith("sort|join"):
        expected = "".join(sorted(["a", key]))
    assert render(f"{{{{ {call} }}}}", {"d": {"a": 1, key: value}}) == expected


@pytest.mark.parametrize("key", [*OF_DICT, "format", "index", "count", "name"])
def test_a_stored_key_is_its_value_where_nothing_is_called(key: str) -> None:
    """Without a call a mapping's keys come before its methods, whatever they are named."""
    source = f"{{{{ d.{key} }}}} {{{{ d['{key}'] }}}} {{{{ d.{key}.x }}}}"
    assert render(source, {"d": {key: {"x": 1}}}) == "{'x': 1} {'x': 1} 1"


@pytest.mark.parametrize("name", ["update", "pop", "clear", "copy", "setdefault", "popitem"])
def test_a_stored_key_makes_no_refused_method_callable(name: str) -> None:
    """Methods that a template may not use are refused, with a key of their name or without."""
    for stored in ({"a": 1}, {"a": 1, name: 2}):
        with pytest.raises(TemplateError, match=f"access to attribute '{name}'"):
            render(f"{{{{ d.{name}('a') }}}}", {"d": stored})


def test_code_that_a_template_keeps_under_a_key_is_called() -> None:
    """A mapping that a template makes may hold a macro; it is what is called then."""
    source = "{% macro m() %}called{% endmacro %}{% set d = dict(items=m, x=m) %}"
    assert render(source + "{{ d.items() }}{{ d.x() }}{{ d['items']() }}") == "called" * 3


def test_what_no_mapping_has_is_called_by_its_name() -> None:
    """A key that is no method's name is no function, and the error says so."""
    with pytest.raises(TemplateError, match="'int' object is not callable"):
        render("{{ d.x() }}", {"d": {"x": 1}})


FUNCTIONS = {
    "range": ("{{ range(2)|join }}", "01"),
    "dict": ("{{ dict(a=1).a }}", "1"),
    "cycler": ("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}", "ab"),
    "joiner": ("{% set j = joiner('-') %}{{ j() }}a{{ j() }}", "a-"),
    "namespace": ("{% set n = namespace(a=1) %}{% set n.a = 2 %}{{ n.a }}", "2"),
    "lipsum": ("{{ lipsum(1, false, 5, 6)|wordcount }}", "5"),
    "loop": ("{% for x in [1, 2] %}{{ loop.index }}{{ loop.cycle('a') }}{% endfor %}", "1a2a"),
    "caller": ("{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}x{% endcall %}", "<x>"),
    "self": ("{% block b %}x{% endblock %}{{ self.b() }}", "xx"),
    "m": ("{% macro m() %}x{% endmacro %}{{ m() }}{% block b %}{{ m() }}{% endblock %}", "xx"),
    "varargs": ("{% macro m() %}{{ varargs[0] }}{% endmacro %}{{ m(1) }}", "1"),
    "kwargs": ("{% macro m() %}{{ kwargs.a }}{% endmacro %}{{ m(a=1) }}", "1"),
    "values": ("{{ values['my-key'] }}{{ values.other }}", "12"),
}


@pytest.mark.parametrize("mode", ["none", "process"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_root_key_breaks_what_a_template_calls(name: str, mode: str) -> None:
    """A root key that is named as something of Jinja2's takes that from nobody's template."""
    source, expected = FUNCTIONS[name]
    others = {"my-key": 1, "other": 2}
    for value in JSON:
        assert render(source, {**others, name: value}, mode=mode) == expected


def test_super_is_jinjas_whatever_is_stored() -> None:
    """Inheritance works with root keys named `super` and `self`."""
    sources = {
        "t": "{% extends 'base' %}{% block b %}{{ super() }}+{{ self.c() }}{% endblock %}",
        "base": "{% block b %}b{% endblock %}{% block c %}c{% endblock %}",
    }
    made = Renderer(lambda name: Stored(name, sources[name], None))
    assert made.render("t", {"super": 1, "self": {"c": 2}, "b": 3}) == "b+cc"


@pytest.mark.parametrize("name", ["range", "dict", "cycler", "joiner", "namespace", "lipsum"])
def test_a_root_key_is_its_value_where_nothing_is_called(name: str) -> None:
    """A root key that is named as a function is the value unless it is called."""
    assert render(f"{{{{ {name}.a }}}}{{{{ {name}|tojson }}}}", {name: {"a": 1}}) == '1{"a": 1}'


def test_a_stored_key_named_values_hides_no_other() -> None:
    """`values` is the stored value, and reaches the root keys that the stored one lacks."""
    values: dict[str, Any] = {"my-key": "root", "both": "root", "values": {"both": "stored"}}
    assert render("{{ values['my-key'] }} {{ values.both }} {{ values }}", values) == (
        "root stored {'both': 'stored'}"
    )
