"""What a template sees: values by their keys, code only where it is called."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from jinja2.defaults import DEFAULT_FILTERS

from kinto_orm.errors import TemplateError
from kinto_orm.rendering import Document, Limits, Renderer


def render(source: str, /, values: dict[str, Any] | None = None, *, mode: str = "none") -> str:
    """Render a source with values by root key."""
    made = Renderer(lambda name: Document(name, source, None), Limits())
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
    made = Renderer(lambda name: Document(name, sources[name], None))
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


# ------------------------------------------------------------------ code is not written

NO_VALUES = {
    "a function": "range",
    "a function that is a class": "dict",
    "a class": "namespace",
    "a generator of text": "lipsum",
    "a macro": "m",
    "an imported macro": "mod.f",
    "a macro of the template's own": "self.b",
    "the template": "self",
    "a module, inside": "[mod]",
    "a cycler": "cycler(1, 2)",
    "its method": "cycler(1, 2).next",
    "a joiner": "joiner('-')",
    "a namespace": "namespace(a=1)",
    "a loop": "loop",
    "a loop's method": "loop.cycle",
    "a method of a mapping": "d.items",
    "by the filter attr": "d|attr('items')",
    "a method of a text": "'x'.upper",
    "by a subscript": "'x'['upper']",
    "the method format": "'x'.format",
    "of a safe text": "('x'|safe).join",
    "a class method": "('x'|safe).escape",
    "a method of a list": "[1].index",
    "an iterator": "[1]|map('string')",
    "an iterator of batches": "[1]|batch(1)",
    "an iterator backwards": "[1]|reverse",
    "an iterator of pairs": "{'a': 1}|items",
    "an iterator of methods": "['x']|map(attribute='upper')",
    "methods by a filter": "[d]|map('attr', 'items')",
    "a default": "nothing|default(range)",
}
PLACES = {
    "itself": "{0}",
    "an item": "[{0}]",
    "a tuple's": "({0}, 1)",
    "a value": "{{'a': {0}}}",
    "a key": "{{({0}): 1}}",
    "deeper": "[1, {{'a': ({0}, 2)}}]",
    "of dict()": "dict(a={0})",
    "of a view": "{{'a': {0}}}.values()",
    "of a list of a view": "{{'a': {0}}}.items()|list",
    "the first": "([{0}]|first)",
}
ARGUMENTS = {
    "attr": "'x'", "batch": "2", "groupby": "0", "map": "'string'", "reject": "'odd'",
    "rejectattr": "'x'", "replace": "'a', 'b'", "select": "'odd'", "selectattr": "'x'",
    "slice": "2",
}  # fmt: skip
FILTERED = [f"({{0}})|{name}({ARGUMENTS.get(name, '')})" for name in sorted(DEFAULT_FILTERS)]
AS_ARGUMENTS = [f"'%s a'|{name}({{0}})" for name in sorted(DEFAULT_FILTERS)]
NAMED = [
    "[1, 2]|join({0})", "[1]|join(d={0})", "['a']|join(attribute={0})", "'aa'|replace('a', {0})",
    "'aa'|replace({0}, 'a')", "'%s'|format({0})", "'%(a)s'|format(a={0})", "'a'|center({0})",
    "'a b'|wordwrap(1, true, {0})", "'a' * 300|truncate(9, true, {0})", "1|round(1, {0})",
    "[1]|sum(start={0})", "['a']|map('replace', 'a', {0})|join", "[{0}]|map('string')|join",
    "[{0}]|map('string')|list|string", "[{0}]|map('e')|join", "[[{0}]]|map('join')|join",
    "[{0}]|map('pprint')|join", "[{0}]|batch(3, {0})|list", "[1]|slice(3, {0})|list|string",
    "{{'a': {0}}}|xmlattr", "{{'a': {0}}}|tojson", "{{'a': {0}}}|dictsort|string",
    "{{'a': {0}}}|items|list|string", "{{'a': {0}}}|urlencode", "[('a', {0})]|urlencode",
    "'http://x.y'|urlize(9, false, {0})", "'http://x.y'|urlize(rel={0})",
    "[d]|groupby({0})|list|string", "[{0}]|groupby(0)|string", "[d]|map(attribute='a', default={0})"
    "|join", "[d]|map(attribute='b', default={0})|join", "nothing|default({0})|string",
    "[nothing]|map('default', {0})|join", "[d]|map({0})|join", "[d]|select({0})|join",
    "d|dictsort(by={0})", "['x', 'y']|join(attribute='upper')", "['x']|groupby('upper')|string",
    "['x', 'y']|join(attribute='format')", "['x']|map(attribute='format')|join",
]  # fmt: skip
OTHERWISE = [
    "'%s' % ({0})", "'%r' % ({0},)", "'%(a)s' % {{'a': {0}}}", "'%s' % [{0}]", "'{{}}'.format({0})",
    "'{{!r}}'.format({0})", "'{{a}}'.format(a={0})", "'{{0[a]}}'.format({{'a': {0}}})",
    "'{{a}}'.format_map({{'a': {0}}})", "'{{:{{}}}}'.format(1, {0})", "'{{0.upper}}'.format('x')",
    "'{{0.x}}'.format({0})", "('%s'|safe) % ({0})", "('{{}}'|safe).format({0})",
    "('a'|safe).replace('a', {0})", "('a'|safe).join([{0}])", "('a'|safe).escape({0})",
    "('a'|safe) + ({0})", "'a'.join([{0}])", "'a'.replace('a', {0})", "'a' ~ ({0})",
    "({0}) ~ ({0})",
    "[{0}] ~ ''", "({0})", "[{0}]", "d[{0}]", "[1][{0}]", "'a'[{0}]", "d.get({0})",
    "d.get('b', {0})", "[1].index({0})", "[1].count({0})", "'a'.find({0})", "({0}) + 1",
    "1 + ({0})", "({0}) * 2", "-({0})", "({0}) < 1", "1 in ({0})", "({0})[1]", "({0})[1:]",
    "({0}).nothing", "({0})()", "range({0})", "lipsum({0})", "dict({0})", "cycler({0}).current",
    "joiner({0})", "m({0})", "mod.f({0})", "self.b({0})", "loop.cycle({0})", "loop({0})",
    "namespace(a={0}).a", "values[{0}]", "({0}) is divisibleby(2)", "4 is divisibleby({0})",
    "({0}) is in(d)", "({0}) is lower", "({0}) is filter", "mod|string", "mod|pprint",
    "[mod]|string",
]  # fmt: skip
STATEMENTS = [
    "{{% include {0} %}}", "{{% include [{0}] %}}", "{{% import {0} as x %}}{{{{ x }}}}",
    "{{% extends {0} %}}", "{{% for x in {0} %}}{{{{ x }}}}{{% endfor %}}",
    "{{% set a, b = {0} %}}{{{{ a }}}}", "{{% set x = {0} %}}{{{{ x }}}}{{{{ x ~ 'a' }}}}",
    "{{% filter replace('a', {0}) %}}a{{% endfilter %}}", "{{% call ({0})() %}}x{{% endcall %}}",
    "{{% call m({0}) %}}x{{% endcall %}}",
    "{{% autoescape true %}}{{{{ {0} }}}}{{% endautoescape %}}",
    "{{% autoescape true %}}{{{{ 'a'|safe ~ ({0}) }}}}{{% endautoescape %}}",
    "{{% set ns = namespace() %}}{{% set ns.a = {0} %}}{{{{ ns.a }}}}{{{{ [ns.a]|string }}}}",
    "{{% set x %}}{{{{ {0} }}}}{{% endset %}}{{{{ x }}}}", "{{% if {0} %}}{{% endif %}}",
    "{{% macro k(a={0}) %}}{{{{ a }}}}{{% endmacro %}}{{{{ k() }}}}{{{{ k }}}}",
    "{{% macro k() %}}{{{{ varargs }}}}{{{{ kwargs }}}}{{% endmacro %}}{{{{ k({0}, a={0}) }}}}",
]  # fmt: skip
EXPRESSIONS = [*FILTERED, *AS_ARGUMENTS, *NAMED, *OTHERWISE]
SOURCES = [f"{{{{{{{{ {expression} }}}}}}}}" for expression in EXPRESSIONS] + STATEMENTS
AROUND = (
    "{{% import 'mod' as mod %}}{{% macro m(a=1) %}}{{{{ a }}}}{{% endmacro %}}"
    "{{% block b %}}{{% endblock %}}{{% for each in [1] recursive %}}{0}{{% endfor %}}"
)
CODE = re.compile(
    r"(?i)<(function|class|bound|built-in|method|generator|macro|template|loop|jinja|kinto|module"
    r"|namespace|list_rev|\w+ object)|&lt;\w+ | at 0x|\bUndefined\b|object at|/site-packages/"
)


def attempt(sources: dict[str, str], made: Renderer, source: str, undefined: str) -> str:
    sources["t"] = source
    try:
        return made.render("t", {"d": {"a": 1}}, undefined=undefined)  # type: ignore[arg-type]
    except TemplateError as error:
        return str(error)


@pytest.mark.parametrize("what", NO_VALUES)
def test_no_code_reaches_the_text_or_an_error(what: str) -> None:
    """Whatever is done to a function, a macro or an iterator, its innards are never written.

    Each way to write something is tried, every second time with what the code stands in, and in
    one of the two modes: all of the product would take an hour.
    """
    sources = {"mod": "{% macro f(a=1) %}{{ a }}{% endmacro %}body"}
    made = Renderer(lambda name: Document(name, sources[name], None) if name in sources else None)
    start = list(NO_VALUES).index(what)
    places = itertools.cycle([place for other in list(PLACES)[1:] for place in ("itself", other)])
    for number, (place, source) in enumerate(zip(places, SOURCES, strict=False), start):
        inner = source.format(PLACES[place].format(NO_VALUES[what]))
        found = attempt(sources, made, AROUND.format(inner), ("strict", "lenient")[number // 2 % 2])
        assert not CODE.search(found), (inner, found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% import 'mod' as mod %}{{ mod }}{{ mod|upper }}{{ mod ~ 1 }}{{ mod|indent }}",
         "bodyBODYbody1body"),
        ("{% import 'mod' as mod %}{{ (mod|attr('f'))(2) }}", "2"),
        ("{% macro m(f) %}{{ f() }}{% endmacro %}{% macro k() %}k{% endmacro %}{{ m(k) }}", "k"),
        ("{% set n = namespace(f=range) %}{{ n.f(2)|list }}", "[0, 1]"),
        ("{{ [range, dict][0](2)|list }}{{ (range if true else dict)(1)|list }}", "[0, 1][0]"),
        ("{{ (nothing|default(range))(2)|list }}{{ range is callable }}", "[0, 1]True"),
        ("{{ (d|attr('keys'))()|join }}{% set f = d.get %}{{ f('a') }}", "a1"),
        ("{{ l|map('string')|map('upper')|join }}{{ l|batch(2)|map('first')|list }}", "12[1]"),
        ("{{ l|reverse|list }}{{ l|select('odd')|sum }}{% for x in l|map('string') %}{{ x }}"
         "{% endfor %}", "[2, 1]112"),
        ("{{ '{} {}'.format(*l) }}{{ '%s-%s' % (1, 2) }}{{ l|map('e') ~ '' if false }}", "1 21-2"),
    ],
)  # fmt: skip
def test_code_is_used_as_code(source: str, expected: str) -> None:
    """What only calls, keeps or asks about code is not in the way of it."""
    sources = {"mod": "{% macro f(a=1) %}{{ a }}{% endmacro %}body", "t": source}
    made = Renderer(lambda name: Document(name, sources[name], None))
    assert made.render("t", {"d": {"a": 1}, "l": [1, 2]}) == expected


def test_a_missing_value_in_a_list_is_null_when_lenient() -> None:
    """What is written as nothing is null inside of others, in JSON too."""
    made = Renderer(lambda name: Document(name, "{{ [a, d.b] }} {{ {'a': a}|tojson }}", None))
    assert made.render("t", {"d": {}}, undefined="lenient") == '[None, None] {"a": null}'
