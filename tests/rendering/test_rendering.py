"""Templates: text and JSON in, text out, whatever the template tries."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2.defaults import DEFAULT_FILTERS

from kinto_orm.errors import (
    ConfigurationError,
    KintoError,
    RenderLimit,
    TemplateError,
    TemplateSyntaxError,
    UndefinedVariable,
)
from kinto_orm.rendering import (
    Document,
    Limits,
    Needs,
    Renderer,
    check,
    parse_json,
    parse_yaml,
    variables,
)

MODES = ("none", "process")
DEFAULT = Limits()


TWICE = "{% for a in range(99999) %}{% for b in range(99999) %}"
ENDED = "{% endfor %}{% endfor %}"
MUCH = "{% for a in range(99999) %}{{ 'x' * 99 }}{% endfor %}"


TUPLES = (
    "{% set ns = namespace(l=1, m=1) %}{% for i in range(40) %}"
    "{% set ns.l = (ns.l, ns.l) %}{% set ns.m = (ns.m, ns.m) %}{% endfor %}"
)


class Store(dict[str, str]):
    """Templates by name, with a version for an ETag, and a count of what was loaded."""

    def __init__(self, **sources: str) -> None:
        super().__init__(sources)
        self.loaded: list[str] = []
        self.etags: dict[str, int | None] = {}

    def load(self, name: str) -> Document | None:
        self.loaded.append(name)
        return Document(name, self[name], self.etags.get(name)) if name in self else None


def renderer(limits: Limits = DEFAULT, /, **sources: str) -> Renderer:
    return Renderer(Store(**sources).load, limits)


def render(source: str, /, limits: Limits = DEFAULT, mode: str = "none", **values: Any) -> str:
    return renderer(limits, t=source).render("t", values, isolation=mode)  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def helper() -> None:
    """Start the helper process before anything is timed."""
    render("", mode="process")


# ------------------------------------------------------------------ rendering


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        ("Hello {{ name }}!\n", {"name": "World"}, "Hello World!\n"),
        ("{{ a.b[1]['c'] }}", {"a": {"b": [0, {"c": "x"}]}}, "x"),
        ("{{ foo[1]['20'][0] }}", {"foo": ["", {"20": ["first"]}]}, "first"),
        ("{{ d.items }}|{{ d.keys }}", {"d": {"items": 1, "keys": 2}}, "1|2"),
        ("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", {"d": {"a": 1}}, "a=1;"),
        ("{{ values['my-key'] }} {{ values['a b'] }}", {"my-key": 1, "a b": 2}, "1 2"),
        ("{{ values.x }}", {"values": {"x": "stored"}}, "stored"),
        ("{{ none_ is none }}", {"none_": None}, "True"),
        ("{{ s|upper ~ '-' ~ 2 ~ [1] }}", {"s": "a"}, "A-2[1]"),
        ("{{ '%s, %05.1f' % ('a', 2) }}{{ '%s'|format('b') }}", {}, "a, 002.0b"),
        ("{{ '{:>4}|{}'.format(1, 'x') }}", {}, "   1|x"),
        ("{{ '{a[b]}'.format_map({'a': {'b': 3}}) }}", {}, "3"),
        ("{{ 7 * 6 + 2 ** 3 % 5 - 1 }}{{ 'ab' * 2 }}{{ [1] + [2] }}", {}, "44abab[1, 2]"),
        ("{{ ','.join(['a', 'b']) }}{{ 'a-b'.replace('-', '+') }}", {}, "a,ba+b"),
        ("{{ items|map('upper')|join('/') }}", {"items": ["a", "b"]}, "A/B"),
        (
            "{{ items|selectattr('n', 'gt', 1)|list }}",
            {"items": [{"n": 0}, {"n": 2}]},
            "[{'n': 2}]",
        ),
        ("{{ rows|groupby('k')|map(attribute='grouper')|list }}", {"rows": [{"k": 1}]}, "[1]"),
        (
            "{% set ns = namespace(n=0) %}{% for x in [1, 2] %}{% set ns.n = ns.n + x %}"
            "{% endfor %}{{ ns.n }}",
            {},
            "3",
        ),
        ("{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(3, b=4) }}", {}, "1234"),
        ("{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}x{% endcall %}", {}, "<x>"),
        ("{% set x %}a{{ 1 }}{% endset %}{{ x }}{% filter upper %}b{% endfilter %}", {}, "a1B"),
        (
            "{% for x in [[1, [2]], 3] recursive %}{{ loop(x) if x is iterable else x }}"
            "{% endfor %}",
            {},
            "123",
        ),
        (
            "{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}/{{ loop.length }} {% endfor %}",
            {},
            "1/2 2/2 ",
        ),
        ("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}", {}, "aba"),
        ("{% set j = joiner(',') %}{{ j() }}a{{ j() }}b", {}, "a,b"),
        ("{% if false %}{{ 9**(9**9) }}{% endif %}ok", {}, "ok"),
        ("{% autoescape true %}{{ '<' }}{% endautoescape %}{{ '<' }}", {}, "&lt;<"),
        ("{% autoescape on %}{{ '<' ~ '>'|safe }}{% endautoescape %}", {"on": True}, "&lt;>"),
        ("{{ lipsum(1, false, 5, 6)|wordcount }}", {}, "5"),
        ("{{ ['b', 'a']|sort|tojson(indent=1) }}", {}, '[\n "a",\n "b"\n]'),
        ("{{ text }}", {"text": "ünïcode \U0001f600"}, "ünïcode \U0001f600"),
        ("{% set été = 1 %}{{ été }}{{ naïf }}", {"naïf": 2}, "12"),
        ("{{ '\\N{BULLET}\\u20ac\\xe9' }}", {}, "•€é"),
        ("{{ 'http://ü.de/é'|urlencode }}{{ 'ß'.upper() }}", {}, "http%3A//%C3%BC.de/%C3%A9SS"),
        ("{{ range }}{{ dict.a }}", {"range": 1, "dict": {"a": 2}}, "12"),
        ("{{ d['items'] is defined }}{{ d.items()|list }}", {"d": {}}, "False[]"),
    ],
)
def test_a_template_renders_as_jinja2_says(
    source: str, values: dict[str, Any], expected: str, mode: str
) -> None:
    """What Jinja2 documents works in both modes, with keys before methods."""
    assert render(source, mode=mode, **values) == expected


@pytest.mark.parametrize("mode", MODES)
def test_templates_use_each_other(mode: str) -> None:
    """Include, extends, super, import and macros work between stored templates."""
    made = renderer(
        base="<{% block b %}base{% endblock %}>",
        child="{% extends 'base' %}{% block b %}{{ super() }}+{{ x }}{% endblock %}",
        m="{% macro f(v) %}[{{ v }}]{% endmacro %}{% set k = 'K' %}",
        all="{% include 'child' %}{% import 'm' as m %}{{ m.f(1) }}{{ m.k }}"
        "{% from 'm' import f as g %}{{ g(2) }}{% include ['no', 'm'] %}"
        "{% include 'gone' ignore missing %}{% include 'chi' ~ 'ld' %}",
    )
    assert made.render("all", {"x": "X"}, isolation=mode) == "<base+X>[1]K[2]<base+X>"


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a.html", True), ("a.htm", True), ("a.xml", True), ("a.HTML", True),
        ("a.html.j2", True), ("a.xml.jinja", True), ("a.htm.jinja2", True),
        ("a.txt", False), ("a.j2", False), ("nginx.conf", False), ("a.html.txt", False),
        ("html", False), ("a.html.j2.j2", False), ("a.html.tpl", True), ("a.xhtml", True),
        ("a.HTM.Tmpl", True), ("a.svg.template", True), ("a.conf.tpl", False), ("html.tpl", False),
    ],
)  # fmt: skip
def test_names_decide_about_escaping(name: str, escaped: bool) -> None:
    """Templates named like HTML or XML escape their values, others never do."""
    text = renderer(**{name: "{{ x }}<br>{{ x ~ '&' }}"}).render(name, {"x": "<"})
    assert text == ("&lt;<br>&lt;&amp;" if escaped else "<<br><&")


@pytest.mark.parametrize("name", sorted(DEFAULT_FILTERS))
def test_every_filter_gives_the_same_in_both_modes(name: str) -> None:
    """No filter needs what the limited process has given up, such as opening files."""
    arguments = {
        "attr": "'x'", "batch": "2", "format": "1", "groupby": "0", "map": "'upper'",
        "replace": "'a', 'b'", "reject": "'odd'", "rejectattr": "'x'", "select": "'odd'",
        "selectattr": "'x'", "slice": "2",
    }  # fmt: skip
    call = f"|{name}({arguments.get(name, '')})"
    for value in ("'a <b> c'", "[1, 2]", "{'a': 1}", "3.7", "'2'"):
        made = renderer(t=f"{{% set v = {value}{call} %}}{{{{ v is string and v }}}}")
        outcomes = {outcome(made, "t", mode) for mode in MODES}
        assert len(outcomes) == 1 or name == "random", outcomes


def outcome(made: Renderer, name: str, mode: str) -> str:
    found = attempt(made.render, name, {}, isolation=mode)
    return found if isinstance(found, str) else f"{type(found).__name__} {found}"


# ------------------------------------------------------------------ undefined values


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("source", "lineno"),
    [
        ("{{ nope }}", 1),
        ("a\nb {{ d.nope }}", 2),
        ("\n\n{{ d['nope'] }}", 3),
        ("{{ l[9] }}", 1),
        ("{{ d.a.b.c }}", 1),
        ("\n{% for x in nope %}{% endfor %}", 2),
        ("\n{% if nope %}{% endif %}", 2),
        ("\n{{ nope ~ 'x' }}", 2),
        ("\n{{ nope|upper }}", 2),
        ("\n{{ 'a' + nope }}", 2),
        ("\n{% set x = nope + 1 %}", 2),
        ("\n{% include nope %}", 2),
        ("{% macro m(a) %}\n{{ a }}{% endmacro %}\n{{ m() }}", 2),
        ("\n{{ values['nope'] }}", 2),
    ],
)
def test_a_missing_value_is_an_error_with_its_place(source: str, lineno: int, mode: str) -> None:
    """Strict is the default: a value that is not there is never a silent blank."""
    with pytest.raises(UndefinedVariable) as caught:
        render(source, mode=mode, d={"a": {}}, l=[1])
    assert (caught.value.name, caught.value.lineno) == ("t", lineno)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "source",
    ["{{ nope }}", "{{ nope.a['b'].c }}", "{{ d.x.y }}", "{% for x in nope.a %}x{% endfor %}",
     "{% if nope %}x{% endif %}", "{{ nope ~ '' }}", "{{ values['no'] }}", "{{ nope|upper }}"],
)  # fmt: skip
def test_lenient_writes_nothing(source: str, mode: str) -> None:
    """On request a missing value, and what hangs on it, is written as nothing."""
    made = renderer(t=source)
    assert made.render("t", {"d": {}}, undefined="lenient", isolation=mode) == ""


ITEMS = {"l": [{"port": 1}, {}], "d": {}}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "expression",
    [
        "l|map(attribute='port')|list",
        "[nope]",
        "{'a': nope}",
        "(nope, 1)",
        "[d.nope] ~ ''",
        "[nope]|tojson",
        "'%r'|format(nope)",
        "'{!r}'.format(nope)",
        "nope is none",
        "nope is string",
        "nope is sameas 1",
    ],
)
def test_a_missing_value_is_an_error_inside_of_others_too(expression: str, mode: str) -> None:
    """A list or an object with a hole in it is not written, nor is one taken for something."""
    with pytest.raises(UndefinedVariable, match=r"undefined|has no attribute"):
        render(f"{{{{ {expression} }}}}", mode=mode, **ITEMS)


@pytest.mark.parametrize("name", sorted(DEFAULT_FILTERS.keys() - {"default", "d"}))
def test_no_filter_takes_a_missing_value(name: str) -> None:
    """All filters but `default` say that the value is not there."""
    arguments = {"replace": "(1, 2)", "attr": "('a')", "batch": "(2)", "slice": "(2)"}
    arguments |= dict.fromkeys(("groupby", "map", "format"), "('a')")
    with pytest.raises(UndefinedVariable, match="'nope' is undefined"):
        render(f"{{{{ nope|{name}{arguments.get(name, '')} }}}}")


CALLED = "call it with ()"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{{ range }}", f"'range' is a function, not a value: {CALLED}"),
        ("{{ namespace }}", f"'namespace' is a function, not a value: {CALLED}"),
        ("{{ lipsum }}", CALLED),
        ("{{ [dict] }}", CALLED),
        ("{{ cycler ~ 1 }}", CALLED),
        ("{% macro m() %}{% endmacro %}{{ m }}", f"'m' is a function, not a value: {CALLED}"),
        ("{{ d.items }}", r"take the key of this name with \['items'\]"),
        ("{{ {'a': [d.keys]} }}", "'keys' is a method"),
        ("{{ l|map('string') }}", r"\|list"),
        ("{{ self }}", r"values\['self'\]"),
        ("{{ joiner() }}", "not a value"),
    ],
)
def test_no_code_is_written(source: str, complaint: str, mode: str) -> None:
    """Functions, methods and the like are refused with what to do; nobody wants their repr."""
    with pytest.raises(TemplateError, match=complaint):
        render(source, mode=mode, **ITEMS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", ["a{{ '\\ud800' }}", "{{ s }}", "{{ '%c'|format(56000) }}"])
def test_half_of_a_character_is_not_rendered(source: str, mode: str) -> None:
    """A text that has no UTF-8 could be neither sent nor written to a file."""
    with pytest.raises(TemplateError, match="half of a surrogate pair") as caught:
        render(source, mode=mode, s="\udfff")
    assert caught.value.name == "t"


def test_keys_named_as_functions_are_needed() -> None:
    """A stored key wins over a function of Jinja2, so it has to be fetched; it is no variable."""
    made = renderer(t="{{ range(2) }}{{ a }}{{ self.x() }}{% block x %}{{ dict() }}{% endblock %}")
    for mode in MODES:
        assert made.needs("t", isolation=mode) == Needs(frozenset({"range", "a", "dict"}), False)
    assert made.variables("t") == {"a"}


def test_defined_and_default_work_when_strict() -> None:
    """A template can ask whether a value is there."""
    assert render("{{ a is defined }}{{ a|default('x') }}{{ d.y|d('z') }}", d={}) == "Falsexz"


# ------------------------------------------------------------------ where an error is


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("kind", "inner", "words"),
    [
        (UndefinedVariable, "\n{{ nope }}", "'nope' is undefined"),
        (TemplateError, "\n{{ 1 / 0 }}", "division by zero"),
        (TemplateError, "\n{{ 'a' + 1 }}", "TypeError"),
        (TemplateError, "\n{{ ''.__class__ }}", "unsafe"),
        (TemplateError, "\n{{ 5() }}", "not callable"),
        (TemplateError, "\n{{ x|map('nofilter')|list }}", "nofilter"),
        (TemplateError, "\n{% include 'gone' %}", "no template named 'gone'"),
        (TemplateError, "\n{% include ['gone', 'lost'] %}", "'gone', 'lost'"),
        (TemplateError, "\n{% include [] %}", "an empty list names no template"),
        (TemplateError, "\n{% extends 'gone' %}", "no template named 'gone'"),
        (TemplateError, "\n{% import 'gone' as g %}", "no template named 'gone'"),
        (TemplateError, "\n{% include 5 %}", "not iterable"),
        (RenderLimit, "\n{{ 'a' * 10**9 }}", "a value over"),
        (TemplateSyntaxError, "\n{% if %}", "Expected an expression"),
        (TemplateSyntaxError, "\n{{ x|nofilter }}", "nofilter"),
    ],
)
def test_an_error_in_an_included_template_names_that_one(
    kind: type[TemplateError], inner: str, words: str, mode: str
) -> None:
    """Name and line are those of the template in which it went wrong, and in the message."""
    made = renderer(outer="\n\n\n{% include 'inner' %}", inner=inner)
    with pytest.raises(TemplateError) as caught:
        made.render("outer", {"x": ["a"]}, isolation=mode)
    error = caught.value
    assert type(error) is kind
    assert (error.name, error.lineno) == ("inner", 2)
    assert words in str(error)
    assert "'inner', line 2" in str(error)


def test_an_error_does_not_carry_the_values() -> None:
    """Neither a chained exception nor a frame of the template hangs on the error."""
    with pytest.raises(TemplateError) as caught:
        render("{{ secret + 1 }}", secret="s3cret")
    error: BaseException = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("mode", MODES)
def test_a_template_that_is_not_stored_is_named(mode: str) -> None:
    """A name that nobody stored is a TemplateError that names it."""
    with pytest.raises(TemplateError, match="no template named 'gone'") as caught:
        renderer().render("gone", {}, isolation=mode)
    assert caught.value.name == "gone"


class Refused(KintoError):
    pass


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [Refused, ZeroDivisionError])
def test_what_loading_raises_comes_out_unchanged(kind: type[Exception], mode: str) -> None:
    """An error of the transport is no error of the template, in an include neither."""
    failure = kind("down")

    def load(name: str) -> Document | None:
        if name == "t":
            return Document("t", "{% include 'x' ignore missing %}", 1)
        raise failure

    made = Renderer(load)
    for call in (lambda: made.render("t", {}, isolation=mode), lambda: made.needs("t")):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value is failure


# ------------------------------------------------------------------ plain values only


class Model:
    def delete(self) -> str:
        return "deleted"


class Text(str):
    __slots__ = ()


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "value",
    [Model(), Model, len, (1, 2), {1: "a"}, {"a": [Model()]}, Text("x"), b"x", {1, 2}, ENDLESS,
     object(), [lambda: None]],
)  # fmt: skip
def test_anything_but_plain_json_is_refused(value: Any, mode: str) -> None:
    """An object could be asked for its methods and its secrets, so none gets in."""
    with pytest.raises(TemplateError, match="'x'"):
        render("{{ x }}", mode=mode, x=value)


def test_a_value_cannot_be_changed_by_a_template() -> None:
    """What is given is as it was afterwards."""
    given_ = {"l": [1], "d": {"a": 1}}
    for source in ("{{ l.append(2) }}", "{{ d.update(b=1) }}", "{{ l.clear() }}{{ d.pop('a') }}"):
        with pytest.raises(TemplateError, match="unsafe"):
            render(source, **given_)
    assert given_ == {"l": [1], "d": {"a": 1}}


@pytest.mark.parametrize("wrong", [{"undefined": "maybe"}, {"isolation": "thread"}])
def test_an_unknown_mode_is_refused(wrong: dict[str, Any]) -> None:
    """A misspelt mode is an error, not the unsafe one."""
    with pytest.raises(ValueError, match="'process'"):
        renderer(t="").render("t", {}, **wrong)


# ------------------------------------------------------------------ check and variables


@pytest.mark.parametrize(
    ("source", "kind", "lineno"),
    [
        ("a\n{% if x %}", TemplateSyntaxError, 2),
        ("a\n{{ x", TemplateSyntaxError, 2),
        ("{% nosuch %}", TemplateSyntaxError, 1),
        ("\n\n{{ x|nosuch }}", TemplateSyntaxError, 3),
        ("{% if false %}\n{{ x|nosuch }}{% endif %}", TemplateSyntaxError, 2),
        ("\n{{ x is nosuch }}", TemplateSyntaxError, 2),
        ("{% block b %}\n{{ x|nosuch }}{% endblock %}", TemplateSyntaxError, 2),
        ("{% block b %}{% endblock %}\n{% block b %}{% endblock %}", TemplateSyntaxError, 2),
        ("{% for a in b %}" * 25 + "{% endfor %}" * 25, TemplateSyntaxError, None),
        ("{{ " + "9" * 5000 + " }}", TemplateSyntaxError, None),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", RenderLimit, None),
        ("{{ a" + "+a" * 5000 + " }}", RenderLimit, None),
        ("{% if a %}" * 5000 + "{% endif %}" * 5000, RenderLimit, None),
        ("x" * 100_001, RenderLimit, None),
    ],
)
def test_check_refuses_what_cannot_work(
    source: str, kind: type[TemplateError], lineno: int | None
) -> None:
    """A template that cannot be rendered is refused when it is saved, with its line."""
    with pytest.raises(kind) as caught:
        check(source, "the name")
    assert (caught.value.name, caught.value.lineno) == ("the name", lineno)
    assert "'the name'" in str(caught.value)


@pytest.mark.parametrize(
    "source",
    ["{{ 9**(9**9) }}", "{{ 'a' * 10**10 }}", "{{ 'a'|center(10**9) }}", "{{ '%999999999d' % 1 }}",
     "{% autoescape 9**(9**9) %}{% endautoescape %}", "{% include 'a' * 10**10 %}",
     "{{ range(10**9)|list }}", "{{ -(9**(9**9)) }}", "{{ 'x' ~ 9**(9**9) }}"],
)  # fmt: skip
def test_check_and_variables_evaluate_nothing(source: str) -> None:
    """A constant expression that would never end is not calculated before the render."""
    started = time.monotonic()
    check(source, "t")
    assert variables(source, "t") == frozenset()
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ a }}{{ b.c }}{{ d['e'] }}", "a b d"),
        ("{% set a = b %}{{ a }}", "b"),
        ("{{ a }}{% set a = 1 %}{{ a }}", "a"),
        ("{% if x %}{% set a = 1 %}{% endif %}{{ a }}", "a x"),
        ("{% for a, b in c %}{{ a }}{{ b }}{{ loop.index }}{% else %}{{ e }}{% endfor %}", "c e"),
        ("{% for a in b if a == f %}{% endfor %}{{ a }}", "a b f"),
        ("{% macro m(a, b=c) %}{{ a }}{{ d }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(e) }}",
         "c d e"),
        ("{% call m(a) %}{{ b }}{% endcall %}{{ caller }}", "m a b caller"),
        ("{% with a = b %}{{ a }}{{ c }}{% endwith %}{{ a }}", "a b c"),
        ("{% import 'x' as y %}{{ y.z }}{% from 'x' import p, q as r %}{{ p }}{{ r }}", ""),
        ("{% block b %}{{ a }}{{ super() }}{{ self.b() }}{% endblock %}", "a"),
        ("{% set x %}{{ a }}{% endset %}{{ x }}{% filter replace(b, c) %}{% endfilter %}", "a b c"),
        ("{{ range(n) }}{{ dict(a=b) }}{{ lipsum() }}{{ namespace() }}", "n b"),
        ("{{ values['my-key'] }}{{ values.other }}", "my-key other"),
        ("{% set values = {} %}{{ values['x'] }}", ""),
        ("{{ a|default(b) }}{{ c is divisibleby(d) }}{{ e if f else g }}", "a b c d e f g"),
        ("{% include a %}", "a"),
        ("{# {{ a }} #}{% raw %}{{ b }}{% endraw %}", ""),
    ],
)  # fmt: skip
def test_variables_are_what_the_template_takes_from_the_data(source: str, expected: str) -> None:
    """Names that the template sets itself, in whatever scope, are not among them."""
    assert variables(source, "t") == frozenset(expected.split())


@pytest.mark.parametrize(
    ("source", "names", "everything"),
    [
        ("{{ a }}", "a", False),
        ("{% include 'b' %}{{ a }}", "a from_b from_c", False),
        ("{% include ['gone', 'c'] %}", "from_c", False),
        ("{% include 'c' if x else 'd' %}", "x from_c from_d", False),
        ("{% extends 'b' %}", "from_b from_c", False),
        ("{% from 'd' import m %}", "from_d", False),
        ("{% include 'gone' ignore missing %}", "", False),
        ("{% include x %}", "x", True),
        ("{{ values['my-key'] }}", "my-key values", False),
        ("{{ values[x] }}", "x values", True),
        ("{{ values|length }}", "values", True),
        ("{% for k in values.items() %}{% endfor %}", "values", True),
        ("{% include 't' %}", "", False),
    ],
)
def test_needs_follows_other_templates(source: str, names: str, everything: bool) -> None:
    """What to fetch covers all that is included; where it cannot be known, it says so."""
    made = renderer(
        t=source, b="{{ from_b }}{% include 'c' %}", c="{{ from_c }}",
        d="{% macro m() %}{{ from_d }}{% endmacro %}",
    )  # fmt: skip
    assert made.needs("t") == Needs(frozenset(names.split()), everything)
    assert made.needs("t", isolation="process") == made.needs("t")
    assert made.variables("t") == frozenset(names.split()) - {"values"}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_stored_or_wrong_is_an_error_when_it_is_looked_at(mode: Any) -> None:
    """What nobody stored has no needs and cannot be checked; what is wrong names its line."""
    made = renderer(ok="{{ 9**(9**9) }}{{ x }}", bad="\n{{ x|nope }}", page="{% include 'bad' %}")
    for look in (made.needs, made.check):
        with pytest.raises(TemplateError, match="no template named 'gone'"):
            look("gone", isolation=mode)
        with pytest.raises(TemplateSyntaxError, match="no filter named 'nope'") as caught:
            look("bad", isolation=mode)
        assert (caught.value.name, caught.value.lineno) == ("bad", 2)
    made.check("page", isolation=mode)
    with pytest.raises(TemplateSyntaxError):
        made.needs("page", isolation=mode)
    made.check("ok", isolation=mode)
    assert made.needs("ok", isolation=mode) == Needs(frozenset({"x"}), False)


def test_looking_into_long_templates_is_limited_in_a_process() -> None:
    """Parsing takes its time too: a hundred long templates stop at the limit, and not here."""
    long = "{{ {" + "1:1," * 24_000 + "} }}"
    names = [f"x{i}" for i in range(99)]
    made = renderer(
        t="".join(f"{{% include '{n}' %}}" for n in names), **dict.fromkeys(names, long)
    )
    started = time.process_time()
    with pytest.raises(RenderLimit, match="time over"):
        made.needs("t", isolation="process")
    assert time.process_time() - started < 1


# ------------------------------------------------------------------ the cache


def test_a_template_is_compiled_again_only_when_its_etag_changes() -> None:
    """The ETag alone decides; without one the source does."""
    store = Store(t="one")
    made = Renderer(store.load)
    store.etags["t"] = 1
    assert made.render("t", {}) == "one"
    store["t"] = "two"
    assert made.render("t", {}) == "one"
    store.etags["t"] = 2
    assert made.render("t", {}) == "two"
    store.etags["t"] = None
    store["t"] = "three"
    assert made.render("t", {}) == "three"
    store["t"] = "four"
    assert made.render("t", {}) == "four"


def test_an_imported_template_is_never_out_of_date() -> None:
    """What a template imports may change while it stays the same itself."""
    store = Store(
        t="{% import 'm' as m %}{{ m.f() }}",
        m="{% from 'n' import g %}{% macro f() %}{{ g() }}{% endmacro %}",
        n="{% macro g() %}old{% endmacro %}",
    )
    store.etags.update(t=1, m=1, n=1)
    made = Renderer(store.load)
    assert made.render("t", {}) == "old"
    store["n"] = "{% macro g() %}new{% endmacro %}"
    store.etags["n"] = 2
    assert made.render("t", {}) == "new"


@pytest.mark.parametrize("mode", MODES)
def test_a_render_loads_each_template_once(mode: str) -> None:
    """An include in a loop does not ask the server each time, and never sees two versions."""
    store = Store(t="{% for i in range(50) %}{% include 'x' %}{% endfor %}", x="x")
    assert Renderer(store.load).render("t", {}, isolation=mode) == "x" * 50
    assert store.loaded == ["t", "x"]


def test_a_template_that_is_deleted_while_it_renders_still_renders() -> None:
    """A render works on what it loaded first."""
    store = Store(t="{% include 'x' %}{% include 'gone' ignore missing %}{% include 'x' %}", x="x")

    def load(name: str) -> Document | None:
        found = store.load(name)
        if name == "gone":
            store.pop("x")
        return found

    assert Renderer(load).render("t", {}) == "xx"


def test_threads_share_a_renderer() -> None:
    """Renders in many threads, in both modes, do not see each other's values."""
    made = renderer(t="{% for i in range(20) %}{{ x }}{% include 'u' %}{% endfor %}", u="{{ x }}")
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(20):
            mode = "process" if turn % 10 == number else "none"
            text = made.render("t", {"x": str(number)}, isolation=mode)
            wrong.extend([text] if text != str(number) * 40 else [])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize(
    ("limits", "source", "words"),
    [
        (Limits(output=10), "{{ 'x' * 11 }}", "output over 10 characters"),
        (Limits(output=10), "x" * 11, "output over 10 characters"),
        (Limits(output=10), "{% macro m() %}{{ 'x' * 11 }}{% endmacro %}{% if m() %}{% endif %}",
         "output over 10 characters"),
        (Limits(source=10), "x" * 11, "source over 10 characters"),
        (Limits(value=100), "{% set x = 'x' * 101 %}", "a value over 100 characters"),
        (Limits(depth=3), "{% include 't' %}", "deeper than 3 levels"),
        (Limits(templates=3), "{% for i in range(9) %}{% include 'x%d' % i ignore missing %}"
         "{% endfor %}", "more than 3 templates"),
        (Limits(wall=0.1), TWICE + ENDED, "time over 0.1 s"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", MODES)
def test_each_limit_is_named(limits: Limits, source: str, words: str, mode: str) -> None:
    """A limit that is passed ends as a RenderLimit that says which one, in both modes."""
    with pytest.raises(RenderLimit, match=words):
        render(source, limits, mode)


@pytest.mark.parametrize(
    ("limits", "source", "words"),
    [
        (Limits(seconds=0.2), "{{ range(99999)|list|sort|map('string')|list == x or "
         "('<!-- -->' * 99999)|striptags }}", "CPU time over 0.2 s"),
        (Limits(seconds=9, wall=0.3), TUPLES + "{{ ns.l == ns.m }}", "time over 0.3 s"),
        (Limits(memory=2**24), "{{ 'x' * 9999999 ~ 'y' ~ ' ' * 9999990 }}",
         "memory over 16 MB|value over"),
        (Limits(memory=2**24), "{% set ns = namespace(l=[]) %}{% for i in range(99) %}"
         "{% set ns.l = [ns.l, 'x' * (9000000 + i)] %}{% endfor %}", "memory over 16 MB"),
    ],
)  # fmt: skip
def test_a_process_has_limits_of_its_own(limits: Limits, source: str, words: str) -> None:
    """CPU time and memory are limited in a process, and named when they are used up."""
    with pytest.raises(RenderLimit, match=words):
        render(source, limits, "process", x=[])


@pytest.mark.parametrize("field", ["source", "output", "seconds", "memory"])
def test_a_limit_is_over_zero(field: str) -> None:
    """A limit of zero is refused at once."""
    with pytest.raises(ValueError, match=field):
        Limits(**{field: 0})


@pytest.mark.parametrize("mode", MODES)
def test_output_stops_as_soon_as_it_is_too_long(mode: str) -> None:
    """Text that would be 10 GB is not made first and measured then."""
    started = time.monotonic()
    with pytest.raises(RenderLimit, match="output over"):
        render("{% for i in range(99999) %}{{ x }}{% endfor %}", mode=mode, x="x" * 100_000)
    assert time.monotonic() - started < 1


def test_loading_time_does_not_count() -> None:
    """A slow server is the transport's matter, not the template's."""

    def load(name: str) -> Document | None:
        time.sleep(0.2)
        return Document(name, "{% include 'b' %}" if name == "a" else "{{ 1 }}", 1)

    made = Renderer(load, Limits(wall=0.15))
    for mode in MODES:
        assert made.render("a", {}, isolation=mode) == "1"


# ------------------------------------------------------------------ hostile templates


class Hostile(NamedTuple):
    """A row: what it tries, the template, and how it ends in each of the two modes.

    An outcome is a class and words of its message; HARMLESS when it renders to a short text;
    NOT_HELD where only a process stops it.
    """

    what: str
    source: str
    process: tuple[type[TemplateError], str] | None
    none: tuple[type[TemplateError], str] | str | None = "same"


HARMLESS = None
NOT_HELD = "not held"
DIGITS = (RenderLimit, "a number over 4300 digits")
VALUE = (RenderLimit, "a value over 10000000 characters")
OUTPUT = (RenderLimit, "output over 1000000 characters")
TIME = (RenderLimit, "CPU time over 0.5 s")
WALL = (RenderLimit, "time over 0.2 s")
DEEP = (RenderLimit, "deeper than 40 levels")
RECURSION = (RenderLimit, "recursion too deep")
NESTED = (RenderLimit, "nested too deeply")
UNSAFE = (TemplateError, "unsafe")
SYNTAX = (TemplateSyntaxError, "")
DOUBLED = (
    "{% set ns = namespace(l=['x'], m=['x'], s='ab') %}{% for i in range(40) %}"
    "{% set ns.l = EXPRESSION %}{% endfor %}"
)
TWO = DOUBLED.replace("EXPRESSION", "[ns.l, ns.l]")
CALLS = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"

HOSTILE = [
    # Numbers
    Hostile("a power", "{{ 9**(9**9) }}", DIGITS),
    Hostile("a power of powers", "{{ 2**(2**(2**(2**(2**2)))) }}", DIGITS),
    Hostile("a negative base", "{{ (-9)**(9**9) }}", DIGITS),
    Hostile(
        "a product in a loop",
        DOUBLED.replace("['x']", "9**999").replace("EXPRESSION", "ns.l * ns.l"),
        DIGITS,
    ),
    Hostile("a number from hexadecimal", "{{ ('f' * 1000000)|int(base=16) }}", DIGITS),
    Hostile("rounding to digits", "{{ 5|round(10**9, 'ceil') }}", DIGITS),
    Hostile("rounding to negative digits", "{{ 5|round(-10**9, 'floor') }}", DIGITS),
    Hostile("a constant in a condition", "{% autoescape 9**(9**9) %}{% endautoescape %}", DIGITS),
    Hostile("a constant that is not reached", "{% if false %}{{ 9**(9**9) }}{% endif %}", HARMLESS),
    Hostile("division by zero", "{{ 1 // 0 }}", (TemplateError, "ZeroDivisionError")),
    # Large texts and lists
    Hostile("a repeated text", "{{ 'a' * 10**10 }}", VALUE),
    Hostile("a repeated text, turned round", "{{ 10**10 * 'a' }}", VALUE),
    Hostile("a repeated list", "{{ [0] * 10**9 }}", VALUE),
    Hostile("a method that pads", "{{ 'a'.center(10**9) }}{{ 'a'.ljust(10**9) }}", VALUE),
    Hostile("zfill", "{{ '1'.zfill(10**9) }}", VALUE),
    Hostile("padding through attr", "{{ ('a'|attr('rjust'))(10**9) }}", VALUE),
    Hostile("center", "{{ 'a'|center(10**9) }}", VALUE),
    Hostile("center through map", "{{ ['a']|map('center', 10**9)|list }}", VALUE),
    Hostile("many centers", "{{ range(99999)|map('string')|map('center', 99999)|join }}", VALUE),
    Hostile("a wide format", "{{ '%1000000000d' % 1 }}", VALUE),
    Hostile("a precise format", "{{ '%.1000000000f' % 1 }}", VALUE),
    Hostile("a width given", "{{ '%*d' % (10**9, 1) }}", VALUE),
    Hostile("a width behind brackets", "{{ '%(a(b))1000000000d' % {'a(b)': 1} }}", VALUE),
    Hostile("many wide formats", "{{ ('%999999d' * 999) % ((1,) * 999) }}", VALUE),
    Hostile("the filter format", "{{ '%1000000000d'|format(1) }}", VALUE),
    Hostile("str.format", "{{ '{:1000000000}'.format(1) }}", VALUE),
    Hostile("str.format, nested", "{{ '{:{w}}'.format(1, w=10**9) }}", VALUE),
    Hostile("str.format_map", "{{ '{a:>1000000000}'.format_map({'a': 1}) }}", VALUE),
    Hostile("indent", "{{ 'a\nb'|indent(10**9) }}", VALUE),
    Hostile("indent by text", "{{ ('a\n' * 99999)|indent('x' * 9999) }}", VALUE),
    Hostile("batch with a fill", "{{ [1]|batch(10**9, 0)|list }}", VALUE),
    Hostile("slice", "{{ []|slice(10**9)|list }}", VALUE),
    Hostile("tojson with indent", "{{ [1]|tojson(indent=10**9) }}", VALUE),
    Hostile("wordwrap", "{{ ('x' * 9999)|wordwrap(1, wrapstring='y' * 9999) }}", VALUE),
    Hostile("replace", "{{ ('a' * 9999)|replace('a', 'b' * 9999) }}", VALUE),
    Hostile("str.replace of nothing", "{{ ('a' * 9999).replace('', 'b' * 9999) }}", VALUE),
    Hostile("join", "{{ range(9999)|join('x' * 9999) }}", VALUE),
    Hostile("str.join", "{{ ('x' * 9999).join('y' * 99999) }}", VALUE),
    Hostile("urlize", "{{ ('a.com ' * 9999)|urlize(target='x' * 9999) }}", VALUE),
    Hostile("expandtabs", "{{ '\t'.expandtabs(10**9) }}", UNSAFE),
    Hostile("bytes", "{{ 'a'.encode().ljust(10**9) }}", UNSAFE),
    Hostile("to_bytes", "{{ (5).to_bytes(10**9, 'big') }}", UNSAFE),
    Hostile("a doubled text", DOUBLED.replace("EXPRESSION", "ns.l ~ ns.l"), VALUE),
    Hostile("a doubled list", DOUBLED.replace("EXPRESSION", "ns.l + ns.l"), VALUE),
    Hostile("a list of itself twice, written", TWO + "{{ ns.l }}", VALUE),
    Hostile("the same, concatenated", TWO + "{{ 'x' ~ ns.l }}", VALUE),
    Hostile("the same, as text", TWO + "{{ ns.l|string|length }}", VALUE),
    Hostile("the same, as JSON", TWO + "{{ ns.l|tojson|length }}", VALUE),
    Hostile("the same, printed nicely", TWO + "{{ ns.l|pprint }}", VALUE),
    Hostile("the same, formatted", TWO + "{{ '%s' % (ns.l,) }}", VALUE),
    Hostile("the same, formatted otherwise", TWO + "{{ '{!r}'.format(ns.l) }}", VALUE),
    Hostile("the same, in a namespace", TWO + "{{ ns }}", (TemplateError, "not a value")),
    Hostile("lists compared", TUPLES + "{{ ns.l == ns.m }}", TIME, NOT_HELD),
    Hostile("a list as a key", TUPLES + "{{ {ns.l: 1} }}", TIME, NOT_HELD),
    Hostile(
        "a long range",
        "{% for i in range(10**9) %}{% endfor %}",
        (RenderLimit, "a range over 100000 items"),
    ),
    Hostile("lipsum", "{{ lipsum(10**7) }}", (RenderLimit, "a value over 1000000 characters")),
    Hostile("a value of 5 MB", "{{ big }}", OUTPUT),
    # Much text
    Hostile("text in loops", TWICE + "x" + ENDED, (RenderLimit, "over")),
    Hostile("text in a macro", "{% macro m() %}" + MUCH + "{% endmacro %}{{ m()|length }}", OUTPUT),
    Hostile("text in a set block", "{% set x %}" + MUCH + "{% endset %}", OUTPUT),
    Hostile("text in a filter block", "{% filter length %}" + MUCH + "{% endfilter %}", OUTPUT),
    Hostile(
        "text in a block, called", "{% block b %}" + MUCH + "{% endblock %}{{ self.b() }}", OUTPUT
    ),
    # Much time
    Hostile("nested loops", TWICE + ENDED, TIME, WALL),
    Hostile(
        "nested filters",
        "{% for a in range(99999) %}{% set x = range(99999)|map('string')|list %}{% endfor %}",
        TIME,
        WALL,
    ),
    Hostile("two macros that call each other twice", CALLS + "{{ f(60) }}", TIME, WALL),
    Hostile(
        "a slow filter",
        "{% for a in range(99) %}{{ ('<!-- -->' * 999999)|striptags }}{% endfor %}",
        TIME,
        NOT_HELD,
    ),
    Hostile("a quadratic sum", "{{ ([[0] * 100] * 9999)|sum(start=[]) }}", TIME, NOT_HELD),
    Hostile(
        "membership in loops",
        "{% set l = range(99999)|list %}{% for a in l %}{% if -1 in l %}{% endif %}{% endfor %}",
        TIME,
        WALL,
    ),
    # Recursion
    Hostile("an include of itself", "{% include 't' %}", DEEP),
    Hostile("an include in a circle", "{% include 'circle' %}", DEEP),
    Hostile("an extension of itself", "{% extends 't' %}", DEEP),
    Hostile("an import of itself", "{% import 't' as t %}", DEEP),
    Hostile("two includes of itself", "{% include 't' %}{% include 't' ignore missing %}", DEEP),
    Hostile("a recursive macro", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", RECURSION),
    Hostile("a recursive block", "{% block b %}{{ self.b() }}{% endblock %}", RECURSION),
    Hostile(
        "a recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", RECURSION
    ),
    Hostile("deep brackets", "{{ " + "[" * 9999 + "]" * 9999 + " }}", NESTED),
    Hostile("a long sum", "{{ 1" + " + 1" * 3000 + " }}", NESTED),
    Hostile("deep conditions", "{% if 1 %}" * 999 + "{% endif %}" * 999, NESTED),
    Hostile(
        "many templates",
        "{% for i in range(9999) %}{% include 'x%d' % i ignore missing %}{% endfor %}",
        (RenderLimit, "more than 100 templates"),
    ),
    # The way out of the sandbox
    Hostile("a class", "{{ ''.__class__.__mro__ }}", UNSAFE),
    Hostile("a class by index", "{{ ''['__class__'] }}", UNSAFE),
    Hostile("a class by attr", "{{ ''|attr('__class__') }}", UNSAFE),
    Hostile("a class by map", "{{ ['']|map(attribute='__class__')|list|string }}", UNSAFE),
    Hostile("a class by str.format", "{{ '{0.__class__}'.format(1) }}", UNSAFE),
    Hostile("a class by attr and format", "{{ ('{0.__class__}'|attr('format'))(1) }}", UNSAFE),
    Hostile("globals of a function", "{{ lipsum.__globals__ }}", UNSAFE),
    Hostile("globals of a class", "{{ cycler.__init__.__globals__ }}", UNSAFE),
    Hostile("a wrapped function", "{{ range.__func__ }}{{ range.__self__ }}", UNSAFE),
    Hostile("the context", "{{ self._TemplateReference__context }}", UNSAFE),
    Hostile("a frame", "{{ ([1]|map('string')).gi_frame.f_globals }}", UNSAFE),
    Hostile("subclasses", "{{ dict.__base__.__subclasses__() }}", UNSAFE),
    Hostile("mro", "{{ dict.mro() }}", UNSAFE),
    Hostile("a loop's class", "{% for a in [1] %}{{ loop.__class__ }}{% endfor %}", UNSAFE),
    Hostile("a file", "{% include '/etc/passwd' %}", (TemplateError, "no template named")),
    Hostile(
        "a module", "{% import 'os' as os %}{{ os.environ }}", (TemplateError, "no template named")
    ),
    Hostile("a surprising name", "{% block f(a):\n import os %}{% endblock %}", SYNTAX),
    Hostile("a keyword that Python refuses", "{{ dict(__debug__=1) }}", SYNTAX),
    Hostile("code in a text", "{{ '\\'); import os; (\\'' }}{{ \"\\\\\" }}", HARMLESS),
]

STORED = {"circle": "{% include 't' %}"}
BIG = {"big": "x" * 5_000_000}


def hostile(row: Hostile, mode: str, limits: Limits) -> TemplateError | str:
    made = renderer(limits, **STORED, t=row.source)
    return attempt(made.render, "t", BIG if "big" in row.source else {}, isolation=mode)  # type: ignore[no-any-return]


def assert_ends(found: object, expected: tuple[type[TemplateError], str] | None) -> None:
    if expected is None:
        assert isinstance(found, str)
        assert len(found) < 1000
        return
    assert isinstance(found, TemplateError), found
    assert expected[1] in str(found)
    assert type(found) is expected[0]
    assert found.name in ("t", "circle")


def test_the_table_has_forty_rows() -> None:
    """At least forty ways to do harm are tried."""
    assert len({row.source for row in HOSTILE}) >= 40


@pytest.mark.parametrize("row", HOSTILE, ids=lambda row: row.what)
def test_a_hostile_template_is_ended_in_a_process(row: Hostile) -> None:
    """Each ends as its row says, within a second (best of three, more on a busy machine)."""
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    for _ in range(3):
        started = time.monotonic()
        assert_ends(hostile(row, "process", DEFAULT), row.process)
        took = time.monotonic() - started
        if took < busy:
            return
    pytest.fail(f"it took {took:.2f} s")


@pytest.mark.parametrize(
    "row", [row for row in HOSTILE if row.none != NOT_HELD], ids=lambda row: row.what
)
def test_a_hostile_template_is_ended_in_this_process(row: Hostile) -> None:
    """Those for which the table claims it are held without a process, too."""
    found = hostile(row, "none", Limits(wall=0.2) if row.none == WALL else DEFAULT)
    assert_ends(found, row.process if row.none == "same" else row.none)  # type: ignore[arg-type]


# ------------------------------------------------------------------ the process


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return [int(child) for child in listed.read().split()]


def helpers() -> list[int]:
    return [pid for pid in children_of(os.getpid()) if b"kinto_orm" in command(pid)]


def command(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb") as line:
        return line.read()


def test_the_helper_inherits_neither_environment_nor_files() -> None:
    """What this process holds, a password in a variable or an open file, is not in the helper."""
    (pid,) = helpers()
    with open(f"/proc/{pid}/environ", "rb") as environ:
        assert environ.read() == b""
    opened = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert all(
        path == "/dev/null" or path.startswith(("socket:", "anon_inode:", "pipe:"))
        for path in opened
    )


def test_the_helper_starts_again_when_it_died() -> None:
    """A helper that somebody killed is replaced with the next render."""
    (pid,) = helpers()
    os.kill(pid, signal.SIGKILL)
    assert render("{{ 1 }}", mode="process") == "1"
    (new,) = helpers()
    assert new != pid


def test_no_child_stays_behind() -> None:
    """Each child is gone when its render is, whether it ended or was killed."""
    render("{{ 1 }}", mode="process")
    with pytest.raises(RenderLimit):
        render(
            TWICE + ENDED,
            Limits(seconds=0.1),
            "process",
        )
    (pid,) = helpers()
    waited = time.monotonic() + 2
    while children_of(pid) and time.monotonic() < waited:
        time.sleep(0.01)
    assert children_of(pid) == []


def test_a_child_is_killed_when_loading_fails() -> None:
    """A child that waits for a template which does not come is not left waiting."""

    def load(name: str) -> Document | None:
        if name == "t":
            return Document("t", "{% include 'x' %}", 1)
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        Renderer(load).render("t", {}, isolation="process")
    test_no_child_stays_behind()


def test_a_fork_of_this_process_gets_a_helper_of_its_own() -> None:
    """After os.fork the child does not talk to the parent's helper, and does not end it."""
    (pid,) = helpers()
    script = textwrap.dedent("""
        import os, warnings
        from kinto_orm.rendering import Renderer, Document
        made = Renderer(lambda name: Document(name, "{{ x }}", 1))
        assert made.render("t", {"x": 1}, isolation="process") == "1"
        warnings.simplefilter("ignore")
        child = os.fork()
        text = made.render("t", {"x": 2}, isolation="process")
        assert text == "2"
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert made.render("t", {"x": 3}, isolation="process") == "3"
    """)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert helpers() == [pid]


def test_the_helper_ends_with_this_process() -> None:
    """No process is left when the program is over, killed or not."""
    script = textwrap.dedent("""
        import os, sys
        from kinto_orm.rendering import Renderer, Document
        Renderer(lambda name: Document(name, "", 1)).render("t", {}, isolation="process")
        print(open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read(), flush=True)
        if sys.argv[1] == "kill":
            os.kill(os.getpid(), 9)
    """)
    for how in ("exit", "kill"):
        done = subprocess.run(
            [sys.executable, "-c", script, how], capture_output=True, text=True, timeout=60,
            check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert done.stdout, done.stderr
        pid = int(done.stdout)
        waited = time.monotonic() + 2
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < waited:
            time.sleep(0.01)
        assert not os.path.exists(f"/proc/{pid}")


def test_a_child_cannot_open_files_or_sockets() -> None:
    """Even code that got out of the sandbox has no files, no network and no new processes."""
    script = textwrap.dedent("""
        import os, socket, resource, threading
        from kinto_orm.rendering import Limits, worker
        worker._Confinement(Limits())
        for attempt in (lambda: open("/etc/passwd"), socket.socket, os.pipe):
            try:
                attempt()
            except OSError:
                continue
            raise SystemExit("not confined")
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        assert resource.getrlimit(resource.RLIMIT_NPROC) == (0, 0)
        try:
            bytearray(2**29)
        except MemoryError:
            os.write(1, b"confined")
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout == "confined", done.stderr


def test_no_descriptor_leaks() -> None:
    """Many renders, good and bad, leave as many open files as there were."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for source in ["{{ 1 }}", "{{ nope }}", "{% include 'x' %}", "{{ 'a' * 10**10 }}"] * 5:
        outcome(renderer(t=source), "t", "process")
    assert len(os.listdir("/proc/self/fd")) == before


# ------------------------------------------------------------------ anything at all

PIECES = st.sampled_from(
    """{{ }} {% %} {# #} {%- -%} for in if else elif endif endfor set endset block endblock macro
    endmacro call endcall filter endfilter include extends import from as with endwith raw endraw
    autoescape endautoescape ignore missing context recursive not and or is x y loop self super
    caller varargs range( dict( namespace( cycler( joiner( lipsum( ( ) [ ] { } , : . .a .__class__
    | ~ + - * ** / // % == != < > = 'a' "b" '%s' 1 0 -1 99 1.5 1e9 9**9 none true |upper |join
    |center( |map( |list |length |format( |attr( |tojson |default |batch( |slice( |sort 't' 'u'
    """.split()  # noqa: SIM905
)
TEMPLATES = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map(" ".join))


def attempt(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return call(*args, **kwargs)
    except TemplateError as error:
        return error


def assert_text_or_template_error(source: str, mode: str) -> None:
    made = renderer(Limits(wall=1.0), t=source, u="{{ x }}")
    for undefined in ("strict", "lenient"):
        values = {"x": ["a"], "y": "b"}
        found = attempt(made.render, "t", values, undefined=undefined, isolation=mode)
        assert isinstance(found, str) or found.name in ("t", "u")
    for refused in (attempt(check, source, "t"), attempt(made.needs, "t")):
        assert not isinstance(refused, TemplateError) or refused.name in ("t", "u")


@settings(max_examples=250, deadline=None)
@given(TEMPLATES)
def test_any_text_is_rendered_or_refused(source: str) -> None:
    """Arbitrary text as a template gives a text or a TemplateError, never anything else."""
    assert_text_or_template_error(source, "none")


@settings(max_examples=25, deadline=None)
@given(TEMPLATES)
def test_any_text_is_rendered_or_refused_in_a_process(source: str) -> None:
    """The same in a process."""
    assert_text_or_template_error(source, "process")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_any_json_is_written_as_it_is(values: dict[str, Any]) -> None:
    """Any JSON values are taken, under any key, and the process sees the same ones."""
    source = "{% for k in values|sort %}{{ values[k]|tojson }}{% endfor %}"
    expected = render(source) if not values else renderer(t=source).render("t", values)
    assert renderer(t=source).render("t", values, isolation="process") == expected


# ------------------------------------------------------------------ JSON and YAML


def test_rendered_json_is_parsed() -> None:
    """A rendered text is read as JSON."""
    assert parse_json('{"a": [1, null, "x"]}', "t") == {"a": [1, None, "x"]}


@pytest.mark.parametrize(
    ("text", "kind", "lineno"),
    [
        ('{\n"a": 1,\n}', TemplateError, 3),
        ("", TemplateError, 1),
        ("[NaN]", TemplateError, None),
        ("9" * 5000, TemplateError, None),
        ("[" * 100_000, RenderLimit, None),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(
    text: str, kind: type[TemplateError], lineno: int | None
) -> None:
    """The line is that of the rendered text."""
    with pytest.raises(kind) as caught:
        parse_json(text, "t")
    assert (type(caught.value), caught.value.name, caught.value.lineno) == (kind, "t", lineno)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [x, null, 1.5, true]\n", {"a": 1, "b": ["x", None, 1.5, True]}),
        ("", None),
        ("day: 2024-01-31", {"day": "2024-01-31"}),
        ("a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2",
         {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
        ("a: {<<: [{b: 1}, {b: 2, c: 3}], c: 4}", {"a": {"b": 1, "c": 4}}),
    ],
)  # fmt: skip
def test_rendered_yaml_is_parsed_as_json_values(text: str, expected: Any) -> None:
    """YAML gives the values that JSON has; dates stay texts."""
    assert parse_yaml(text, "t") == expected


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "kind", "lineno"),
    [
        ("a: 1\nb: [", TemplateError, 2),
        ("a: 1\n b: 2", TemplateError, 2),
        ("a: !!python/object/apply:os.system [ls]", TemplateError, 1),
        ("\na: !!set {x}", TemplateError, 2),
        ("a: !!binary aGk=", TemplateError, 1),
        ("ports:\n  80: http", TemplateError, 2),
        ("a: .nan", TemplateError, 1),
        ("--- 1\n--- 2", TemplateError, 2),
        ("a: *nope", TemplateError, 1),
        ("a: \x00", TemplateError, None),
        ("<<: 5", TemplateError, 1),
        (BOMB, RenderLimit, None),
        (MERGES, RenderLimit, None),
        ("&a [*a]", RenderLimit, None),
        ("[" * 5000, RenderLimit, None),
        ("- a\n" * 250_000, RenderLimit, None),
        ("a: " + "9" * 5000, TemplateError, None),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(
    text: str, kind: type[TemplateError], lineno: int | None
) -> None:
    """Objects, bombs of aliases and keys that are no text are refused, in little time."""
    started = time.process_time()
    with pytest.raises(kind) as caught:
        parse_yaml(text, "t")
    assert (type(caught.value), caught.value.name, caught.value.lineno) == (kind, "t", lineno)
    assert time.process_time() - started < 5


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="ab:-[]{}&*<!'\"\n |>#%@,019.", max_size=60))
def test_any_text_is_yaml_or_refused(text: str) -> None:
    """Arbitrary text gives plain values or a TemplateError."""
    for parse in (parse_yaml, parse_json):
        found = attempt(parse, text, "t")
        assert not isinstance(found, TemplateError) or found.name == "t"


def test_yaml_without_pyyaml_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML is no dependency; without it the error says what to install."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigurationError, match="pip install pyyaml"):
        parse_yaml("a: 1", "t")
