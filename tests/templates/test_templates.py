"""Templates: kept on a server, rendered from its key values, on Kinto and on kvp.io's protocol."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic import ValidationError
from requests import PreparedRequest
from test_rendering import BIG, HOSTILE, STORED, Hostile, assert_ends

from conftest import Backend, Wire
from kinto_orm import (
    BatchError,
    Bucket,
    ConfigurationError,
    Conflict,
    Everyone,
    Forbidden,
    InvalidData,
    ModelError,
    NotFound,
    NotLoaded,
    PathError,
    Record,
    RenderLimit,
    Session,
    Template,
    TemplateError,
    TemplateSyntaxError,
    Unauthorized,
    UndefinedVariable,
    Unsupported,
    col,
)
from kinto_orm.server import EmbeddedServer, open_memory, serve

ROOT = Path(__file__).parents[2]
KEY = "key-1"
KVP = {"kinto.includes": "kinto_orm.server.kvp", "kinto.kvp_api_keys": KEY}
MODES = ("none", "process")


@pytest.fixture(scope="module")
def kvp_server() -> Iterator[tuple[EmbeddedServer, str]]:
    """A server of kvp.io's protocol, and its URL."""
    with open_memory(settings=KVP) as embedded, serve(embedded, threads=4) as served:
        yield embedded, f"kvp+{served.url}"


@pytest.fixture
def kvp(kvp_server: tuple[EmbeddedServer, str]) -> Iterator[Session]:
    """The current session, on an empty kvp.io server."""
    embedded, url = kvp_server
    embedded.flush()
    with Session(url, auth=(KEY, "")) as session:
        yield session


@pytest.fixture(params=["memory", "postgres", "kvp"])
def anywhere(request: pytest.FixtureRequest, bucket: str) -> Iterator[Session]:
    """The current session, on Kinto with both backends and on kvp.io's protocol; all empty."""
    if request.param == "kvp":
        yield request.getfixturevalue("kvp")
        return
    server = request.getfixturevalue(request.param)
    url = "memory://tests" if request.param == "memory" else server.url
    with Session(url, bucket=bucket) as session:
        Bucket(id=bucket).save()
        yield session


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> str:
    """The id of a bucket that no other test uses."""
    return f"t{time.monotonic_ns()}"


def stored(name: str, source: str) -> Template:
    return Template(name=name, source=source).save()


def failure(act: Callable[[], object]) -> Any:
    with pytest.raises(TemplateError) as caught:
        act()
    return caught.value


# ------------------------------------------------------------------ keeping them, anywhere

NAMES = [
    "nginx.conf",
    "plain",
    "a b",
    "ünïcode \U0001f600",
    "x--a",
    "a/b/c.html",
    "50%",
    "?q#f",
    "9",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_text_is_a_name(anywhere: Session, name: str) -> None:
    """A template is found again by its name, whatever the name looks like."""
    stored(name, "{{ 1 }}")
    found = Template.get(name)
    assert (found.name, found.source) == (name, "{{ 1 }}")
    assert [each.name for each in Template.find()] == [name]
    found.delete()
    assert Template.get_or_none(name) is None


@pytest.mark.parametrize(
    "source", ["", "\n", " a \r\n\n", '"quoted"', "{% raw %}{{{% endraw %}", "é"]
)
def test_the_source_comes_back_as_it_was(anywhere: Session, source: str) -> None:
    """No character of a source is lost or changed, an empty source included."""
    stored("t", source)
    assert Template.get("t").source == source


def test_a_template_is_saved_changed_and_deleted(anywhere: Session) -> None:
    """The verbs of every record work by name."""
    template = stored("t", "one")
    assert not template.is_new
    template.source = "two"
    assert template.diff() == {"source": ("one", "two")}
    template.save()
    assert template.diff() == {}
    assert Template.get("t").source == "two"
    assert template.delete().id == template.id
    with pytest.raises(NotFound, match="'t'"):
        Template.get("t")
    with pytest.raises(Conflict, match="it was deleted"):
        template.save()
    template.save(force=True)
    assert anywhere.get(Template, "t").source == "two"


def test_get_or_create_creates_once(anywhere: Session) -> None:
    """The first call creates the template, the second finds it."""
    assert Template.get_or_create("t", source="1")[1] is True
    found, created = Template.get_or_create("t", source="2")
    assert (found.source, created) == ("1", False)


def test_refresh_takes_what_the_server_has(anywhere: Session) -> None:
    """Refreshing drops what is not saved, or keeps it on request, and misses what is gone."""
    mine, theirs = stored("t", "one"), Template.get("t")
    theirs.source = "two"
    theirs.save()
    assert mine.refresh() is mine
    assert (mine.source, mine.diff()) == ("two", {})
    mine.source = "three"
    assert mine.refresh(keep_changes=True).source == "three"
    assert mine.refresh().source == "two"
    theirs.delete()
    with pytest.raises(NotFound):
        mine.refresh()


def test_where_nothing_was_saved_nothing_is_found(anywhere: Session) -> None:
    """Reading before the first save finds nothing, and is no error but for get."""
    assert Template.find().all() == []
    assert Template.find().first() is None
    assert Template.find().count() == 0
    assert not Template.find().exists()
    assert Template.get_or_none("t") is None
    with pytest.raises(NotFound, match="get Template 't'"):
        Template.get("t")


def test_find_lists_all(anywhere: Session) -> None:
    """Every template is listed, with a limit or without."""
    for name in "abc":
        stored(name, "")
    assert {each.name for each in Template.find()} == {"a", "b", "c"}
    assert Template.find().count() == 3
    assert len(Template.find().limit(2).all()) == 2


@pytest.mark.parametrize(
    ("source", "kind", "lineno", "words"),
    [
        ("a\n{{ x", TemplateSyntaxError, 2, "unexpected end"),
        ("a\nb\n{% for x in %}", TemplateSyntaxError, 3, "template 'bad.conf', line 3"),
        ("{{ x|upperr }}", TemplateSyntaxError, 1, "no filter named 'upperr'"),
        ("\n\n{{ x is odder }}", TemplateSyntaxError, 3, "no test named 'odder'"),
        ("{% if false %}{{ x|nope }}{% endif %}", TemplateSyntaxError, 1, "no filter named 'nope'"),
        ("{% block a %}{% endblock %}\n{% block a %}{% endblock %}", TemplateSyntaxError, 2, "'a'"),
        ("x" * 100_001, RenderLimit, None, "over 100000 characters"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", RenderLimit, None, "nested too deeply"),
    ],
)
def test_what_cannot_work_is_not_saved(
    anywhere: Session, source: str, kind: type[TemplateError], lineno: int | None, words: str
) -> None:
    """A source that does not compile is refused before anything is sent, with its line."""
    good = stored("bad.conf", "good")
    good.source = source
    error = failure(good.save)
    assert type(error) is kind
    assert (error.name, error.lineno) == ("bad.conf", lineno)
    assert words in str(error)
    failure(lambda: good.save(force=True))
    assert Template.get("bad.conf").source == "good"


def test_what_hangs_a_compiler_is_saved_at_once(anywhere: Session) -> None:
    """Checking a source calculates nothing of it, so that a power without end does no harm."""
    started = time.monotonic()
    template = stored("t", "{{ 9**(9**9) }}")
    assert time.monotonic() - started < 1
    assert "4300 digits" in str(failure(template.render))


# ------------------------------------------------------------------ rendering, anywhere


def test_a_template_renders_from_the_values(anywhere: Session) -> None:
    """Values of the bucket are taken by root key; `values` reaches those that are no names."""
    anywhere.kv["site"] = {"name": "example.org", "ports": [80, 443]}
    anywhere.kv[("my key",)] = None
    template = stored(
        "nginx.conf",
        "server {{ site.name }}\n{% for p in site.ports %}listen {{ p }};\n{% endfor %}"
        "{{ values['my key'] }} {{ site.ports[1] }}\n",
    )
    expected = "server example.org\nlisten 80;\nlisten 443;\nNone 443\n"
    assert template.render() == expected
    assert Template.get("nginx.conf").render() == expected
    assert template.variables() == {"site", "my key"}


def test_overrides_take_the_place_of_whole_root_keys(anywhere: Session) -> None:
    """A value that is given is taken instead of the stored one, and not mixed with it."""
    anywhere.kv["a"] = {"x": 1, "y": 2}
    anywhere.kv["b"] = "stored"
    template = stored("t", "{{ a }}|{{ b }}")
    assert template.render({"a": 5}) == "5|stored"
    assert template.render({"a": 5}, a=6, b=None) == "6|None"
    assert template.render(a={"x": 0}, b=[]) == "{'x': 0}|[]"
    assert template.render({"undefined": 1, "isolation": 2}, a=1) == "1|stored"
    error = failure(lambda: stored("u", "{{ a.y }}").render(a={"x": 0}))
    assert isinstance(error, UndefinedVariable)


def test_undefined_values_are_strict_unless_asked(anywhere: Session) -> None:
    """A missing value is an error with its name and line, or nothing at all on request."""
    template = stored("t", "a\n[{{ missing }}]")
    error = failure(template.render)
    assert type(error) is UndefinedVariable
    assert (error.name, error.lineno) == ("t", 2)
    assert "missing" in str(error)
    assert template.render(undefined="lenient") == "a\n[]"


def test_templates_use_other_stored_ones(anywhere: Session) -> None:
    """Include, extends, import and macros reach the templates of the same place by name."""
    anywhere.kv["x"] = "X"
    stored("base.conf", "<{% block b %}{% endblock %}>")
    stored("macros", "{% macro m(v) %}[{{ v }}]{% endmacro %}")
    stored("part", "part {{ x }}")
    page = stored(
        "page",
        "{% extends 'base.conf' %}{% block b %}{% from 'macros' import m %}"
        "{% include 'part' %}{{ m(y) }}{% endblock %}",
    )
    assert page.render(y=1) == "<part X[1]>"
    assert page.variables() == {"x", "y"}


def test_a_missing_template_is_named(anywhere: Session) -> None:
    """An include of what is not there says what is not there, and where it is included."""
    page = stored("page", "\n{% include 'gone' %}")
    error = failure(page.render)
    assert (type(error), error.name, error.lineno) == (TemplateError, "page", 2)
    assert "no template named 'gone'" in str(error)
    assert stored("kind", "{% include 'gone' ignore missing %}ok").render() == "ok"


@pytest.mark.parametrize("name", ["'a\\u0000b'", "'" + "é" * 999 + "'", "''", "'../x'"])
def test_a_name_that_nothing_can_have_is_missing(anywhere: Session, name: str) -> None:
    """An include of an impossible name ends like one of a missing template."""
    error = failure(stored("page", "{% include " + name + " %}").render)
    assert "no template named" in str(error)
    assert stored("other", "[{{ values[" + name + "] }}]").render(undefined="lenient") == "[]"


def test_a_template_that_includes_itself_ends(anywhere: Session) -> None:
    """A circle of includes ends at the limit for depth."""
    stored("b", "{% include 'a' %}")
    circle = stored("a", "{% include 'b' %}")
    assert "deeper than 40 levels" in str(failure(circle.render))


def test_escaping_goes_by_the_name(anywhere: Session) -> None:
    """Templates named like HTML escape their values."""
    assert stored("a.html", "{{ x }}").render(x="<") == "&lt;"
    assert stored("a.conf", "{{ x }}").render(x="<") == "<"


def test_rendered_documents_are_read(anywhere: Session) -> None:
    """Rendered JSON and YAML come back as values."""
    anywhere.kv["ports"] = [80, 443]
    template = stored("t.json", '{"ports": {{ ports|tojson }}, "n": {{ n }}}')
    assert template.render_json(n="null") == {"ports": [80, 443], "n": None}
    assert template.render_json({"ports": []}, n=1) == {"ports": [], "n": 1}
    text = "ports:\n{% for p in ports %}- {{ p }}\n{% endfor %}day: 2030-01-31\n"
    assert stored("t.yaml", text).render_yaml() == {"ports": [80, 443], "day": "2030-01-31"}


@pytest.mark.parametrize(
    ("act", "source", "lineno"),
    [
        ("render_json", '{"a": 1,\n\n "b": {{ x }}\n}', 3),
        ("render_yaml", "a: 1\n{% set y = 2 %}b: {{ x }}\nc: 2\n", 2),
    ],
)
def test_an_unreadable_document_says_the_line(
    anywhere: Session, act: str, source: str, lineno: int
) -> None:
    """The line is that of the rendered text."""
    template = stored("t", source)
    error = failure(lambda: getattr(template, act)(x="]"))
    assert (error.name, error.lineno) == ("t", lineno)
    assert f"line {lineno} of what template 't' rendered to" in str(error)


def test_what_is_wrong_in_a_call_is_said(anywhere: Session) -> None:
    """Modes that do not exist and values that are no JSON are refused."""
    template = stored("t", "{{ x }}")
    for wrong in ({"undefined": "maybe"}, {"isolation": "thread"}):
        with pytest.raises(ValueError, match="'strict' or 'lenient'"):
            template.render(x=1, **wrong)  # type: ignore[arg-type]
    with pytest.raises((TemplateError, InvalidData)):
        template.render(x=object())  # type: ignore[arg-type]


# ------------------------------------------------------------------ names


def test_the_id_follows_from_the_name() -> None:
    """Nobody gives or changes the id; a new template can be renamed, a saved one cannot."""
    with pytest.raises(InvalidData, match="follows from its name"):
        Template(id="x", name="t", source="")  # type: ignore[call-arg]
    template = Template(name="a b", source="")
    assert template.id == "x--a-20b"
    template.name = "nginx.conf"
    assert template.id == "x--nginx-2econf"
    with pytest.raises(ModelError, match=r"id of Template 'nginx\.conf' cannot change"):
        template.id = "x"
    with pytest.raises(ValidationError):
        template.name = 3  # type: ignore[assignment]
    with pytest.raises(PathError):
        template.name = "a\0"
    assert (template.name, template.id) == ("nginx.conf", "x--nginx-2econf")
    assert Template.model_validate({"name": "c.d", "source": ""}).id == "x--c-2ed"


def test_a_saved_template_keeps_its_name(session: Session) -> None:
    """Renaming would leave the old one behind; the message says what to do."""
    template = stored("a.b", "")
    with pytest.raises(ModelError, match="save a new Template"):
        template.name = "c"
    template.name = "a.b"
    assert Template.get("a.b").name == "a.b"


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 2001])
def test_a_name_that_cannot_be_stored_is_refused(name: str) -> None:
    """What no server can keep is refused when the template is made."""
    with pytest.raises(ValidationError, match=r"cannot be stored|too long"):
        Template(name=name, source="")


def test_misspelt_fields_are_refused() -> None:
    """A template is a typed model."""
    with pytest.raises(ValidationError, match="did you mean 'source'"):
        Template(name="t", sorce="x")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="source"):
        Template(name="t")  # type: ignore[call-arg]


def test_copies_are_templates_of_the_same_name(session: Session) -> None:
    """Copying and pickling keep the name, the id and what is saved."""
    template = stored("a.b", "x")
    for made in (
        copy.copy(template),
        copy.deepcopy(template),
        pickle.loads(pickle.dumps(template)),
    ):
        assert (made.id, made.name, made.diff()) == (template.id, "a.b", {})


# ------------------------------------------------------------------ as records of Kinto


def test_the_record_is_plain(session: Session) -> None:
    """What is stored is name and source in the collection `templates`, for any other client."""
    template = stored("nginx.conf", "x")
    path = f"/buckets/{session.bucket}/collections/templates/records/x--nginx-2econf"
    assert template.uri == path
    plain = session.scoped(collection="templates").get(Record, "x--nginx-2econf")
    assert plain.model_extra == {"name": "nginx.conf", "source": "x"}


def test_reading_makes_no_collection(session: Session) -> None:
    """Only the first save makes the collection, and only the collection."""
    Template.find().all()
    Template.get_or_none("t")
    Template(name="t", source="{{ x }}").render(undefined="lenient")
    here = Bucket(id=session.bucket).collections
    assert {each.id for each in here.find()} == {"todos"}
    stored("t", "")
    assert {each.id for each in here.find()} == {"todos", "templates"}


def test_a_foreign_bucket_is_not_made(backend: Backend) -> None:
    """A bucket that does not exist is an error that says what to do."""
    with backend.session(bucket=backend.new_id()) as session:
        with pytest.raises(NotFound, match=r"save Bucket\(id="):
            stored("t", "")
        with pytest.raises((Forbidden, NotFound)):
            Template.get("t")
        with pytest.raises(Forbidden):
            Template.find().all()
        assert session.bucket not in {each.id for each in Bucket.find()}


def test_the_personal_bucket_is_made_on_the_first_save(backend: Backend) -> None:
    """A user's own bucket needs no preparation, neither to read nor to write."""
    with backend.session(auth=(backend.new_id("user"), "s3cret")) as session:
        template = Template(name="t", source="{{ x }}{% include 'u' ignore missing %}")
        assert template.render(undefined="lenient") == ""
        assert Template.get_or_none("t") is None
        assert Template.find().count() == 0
        template.save()
        session.kv["x"] = 1
        assert Template.get("t").render() == "1"


def test_two_editors_meet_a_conflict(session: Session) -> None:
    """A template that somebody else saved is not overwritten, nor created twice, nor deleted."""
    mine, theirs = stored("t", "one"), Template.get("t")
    theirs.source = "theirs"
    theirs.save()
    mine.source = "mine"
    with pytest.raises(Conflict) as caught:
        mine.save()
    assert (caught.value.base.source, caught.value.remote.source) == ("one", "theirs")
    assert caught.value.fields == {"source"}
    with pytest.raises(Conflict):
        mine.delete()
    with pytest.raises(Conflict):
        stored("t", "new")
    assert caught.value.merge(prefer="local").save().source == "mine"


def test_history_goes_back(session: Session) -> None:
    """Earlier sources are listed, newest first, and one of them can be taken again."""
    template = stored("a.b", "one")
    first = template.last_modified
    assert first is not None
    template.source = "two"
    template.save()
    assert [entry.target["data"]["source"] for entry in template.history()] == ["two", "one"]  # type: ignore[index,call-overload]
    assert template.at(first).source == "one"
    assert template.revert(first).source == "one"
    assert Template.get("a.b").source == "one"


def test_permissions_are_those_of_a_record(backend: Backend, session: Session) -> None:
    """A template can be shared; who may not read it does not get it."""
    template = stored("a.b", "{{ 1 }}")
    with backend.session(auth=("eve", "s3cret"), bucket=session.bucket) as eve:
        with pytest.raises(Forbidden):
            Template.get("a.b", session=eve)
        template.permissions.grant("read", Everyone).save()
        assert Template.get("a.b", session=eve).source == "{{ 1 }}"
        with pytest.raises(Forbidden):
            stored("c", "")


def test_only_permissions_change_of_what_no_longer_compiles(session: Session) -> None:
    """A source that somebody stored by other means can be read and shared, not saved again."""
    stored("t", "")
    Record(id="old", name="old", source="{{ ").save(session=session.scoped(collection="templates"))
    template = Template.get("old")
    template.permissions.grant("read", Everyone)
    template.save()
    assert Everyone in Template.get("old").permissions.read
    assert isinstance(failure(template.render), TemplateSyntaxError)
    template.source = "{{ 1 }}"
    assert template.save().render() == "1"


def test_conditions_and_parts(session: Session) -> None:
    """Templates are found by conditions; one that is loaded in part cannot be rendered."""
    for name in ("a.conf", "b.conf", "c.txt"):
        stored(name, "x")
    found = Template.find(col(Template.name).like("*.conf")).order_by(col(Template.name).desc())
    assert [each.name for each in found] == ["b.conf", "a.conf"]
    part = Template.find(Template.name == "c.txt").only("name").one()
    for act in (part.render, part.save):
        with pytest.raises(NotLoaded, match="refresh"):
            act()
    assert part.refresh().render() == "x"
    assert Template.find(Template.name != "a.conf").delete() == 2


def test_templates_go_in_batches(session: Session) -> None:
    """A batch saves and gets by name, and a bad source fails by itself."""
    stored("first", "")
    batch = session.batch()
    batch.save(Template(name="a.b", source="1"), Template(name="bad", source="{{"))
    got = batch.get(Template, "a.b")
    with pytest.raises(BatchError) as caught:
        batch.run()
    assert [type(each) for each in caught.value.exceptions] == [TemplateSyntaxError]
    assert got.result is not None
    assert got.result.source == "1"
    summary = session.save_all(Template(name=f"{i}.conf", source="") for i in range(30))
    assert summary.created == 30
    assert Template.find().count() == 32


def test_a_collection_of_ones_own(session: Session) -> None:
    """A subclass keeps its templates elsewhere, with more fields; they include each other only."""

    class Mail(Template, collection="mails"):
        subject: str = ""

    stored("part", "templates")
    Mail(name="part", source="mails").save()
    mail = Mail(name="m", source="{% include 'part' %}", subject="Hi").save()
    assert Mail.get("m").subject == "Hi"
    assert mail.render() == "mails"
    assert stored("m", "{% include 'part' %}").render() == "templates"


def test_a_template_of_another_bucket_takes_the_values_of_that_bucket(
    backend: Backend, session: Session
) -> None:
    """Values and includes come from where the template is, not from the current scope."""
    other = session.scoped(bucket=backend.new_id())
    Bucket(id=other.bucket).save()
    session.kv["x"], other.kv["x"] = "here", "there"
    Template(name="part", source="-{{ x }}").save(session=other)
    template = Template(name="t", source="{{ x }}{% include 'part' %}").save(session=other)
    assert template.render() == "there-there"
    assert Template.get("t", session=other).render() == "there-there"


# ------------------------------------------------------------------ what is fetched


def asked(wire: Wire) -> list[tuple[str, list[str]]]:
    """The collections that were asked, and for which ids."""
    found = []
    for request in wire.requests:
        parts = urlsplit(str(request.url))
        query = parse_qs(parts.query)
        ids = query.get("in_id", query.get("eq_id", [""]))[0]
        names = sorted(each.strip('"') for each in unquote(ids).split(",") if each)
        found.append((parts.path.split("/")[-2], names))
    return found


@pytest.fixture
def values(wire: Wire) -> Wire:
    """What the current session sends, with some keys stored."""
    for key in "abcd":
        wire.session.kv[key] = key.upper()
    wire.clear()
    return wire


@pytest.mark.parametrize(
    ("source", "given", "ids"),
    [
        ("no values {% set a = 1 %}{{ a }}", {}, None),
        ("{{ range(2)|list }}", {}, ["range"]),
        ("{{ a }}{{ b.x }}{% if false %}{{ c }}{% endif %}", {}, ["a", "b", "c"]),
        ("{{ a }}{{ b }}", {"a": 1}, ["b"]),
        ("{{ a }}{{ b }}", {"a": 1, "b": None}, None),
        ("{{ values['a'] }}{{ values.b }}", {}, ["a", "b", "values"]),
        ("{% for a in b %}{{ a }}{% endfor %}", {}, ["b"]),
        ("{{ values }}", {}, []),
        ("{{ values[a] }}", {}, []),
    ],
)
def test_only_named_values_are_fetched(
    values: Wire, source: str, given: dict[str, Any], ids: list[str] | None
) -> None:
    """One request fetches what the template names, none what it does not; all only if it must."""
    Template(name="t", source=source).render(given, undefined="lenient")
    assert asked(values) == ([] if ids is None else [("kv", ids)])


@pytest.mark.parametrize("key", ["namespace", "range", "dict", "cycler", "joiner", "lipsum"])
def test_a_key_wins_over_a_function_of_jinja2(anywhere: Session, key: str) -> None:
    """A stored value is written under whatever name, as one that is given is."""
    template = stored("t", f"{{{{ {key} }}}}")
    for mode in MODES:
        assert failure(lambda m=mode: template.render(isolation=m)).name == "t"
    anywhere.kv[key] = "stored"
    for mode in MODES:
        assert template.render(isolation=mode) == "stored"
        assert template.render({key: "given"}, isolation=mode) == "given"


def test_names_outside_ascii(anywhere: Session) -> None:
    """A key with accents is a name in a template; escapes by a character's name work."""
    anywhere.kv["été"] = "chaud"
    template = stored("t", "{{ été }} {{ '\\N{BULLET}' }}")
    for mode in MODES:
        assert template.render(isolation=mode) == "chaud •"


def test_half_of_a_character_is_an_error_everywhere(anywhere: Session) -> None:
    """What has no UTF-8 is an error of the template, not of the server."""
    template = stored("t", "{{ '\\ud800' }}")
    for mode in MODES:
        error = failure(lambda m=mode: template.render(isolation=m))
        assert "half of a surrogate pair" in str(error)


def test_a_level_of_inclusion_is_one_request(values: Wire) -> None:
    """Templates of one level come together, each of them once, then the values of all."""
    for name, source in {
        "b1": "{% include 'c1' %}{{ a }}",
        "b2": "{% include 'c1' %}{% import 'c2' as c %}{{ b }}",
        "c1": "{{ c }}",
        "c2": "{% macro m() %}{{ d }}{% endmacro %}",
    }.items():
        stored(name, source)
    values.clear()
    template = Template(name="t", source="{% include 'b1' %}{% include ['b2', 'no'] %}")
    assert template.render() == "CACB"
    assert asked(values) == [
        ("templates", ["b1", "b2", "no"]),
        ("templates", ["c1", "c2"]),
        ("kv", ["a", "b", "c", "d"]),
    ]
    values.clear()
    assert template.variables() == {"a", "b", "c", "d"}
    assert [collection for collection, _ in asked(values)] == ["templates", "templates"]


def test_a_process_fetches_one_by_one_and_each_once(values: Wire) -> None:
    """What is not trusted is not parsed here, so that its includes are met one after the other."""
    stored("b", "{% include 'c' %}{{ a }}")
    stored("c", "{{ c }}")
    values.clear()
    template = Template(name="t", source="{% include 'b' %}{% include 'c' %}")
    assert template.render(isolation="process") == "CAC"
    assert sorted(asked(values)) == [("kv", ["a", "c"]), ("templates", ["b"]), ("templates", ["c"])]


def test_calculated_names_are_fetched_when_they_are_met(values: Wire) -> None:
    """A template that is named by a value is fetched while it renders, and takes any value."""
    stored("B", "{{ c }}")
    values.clear()
    template = Template(name="t", source="{% include b %}{% include b %}")
    assert template.render() == "CC"
    assert asked(values) == [("kv", []), ("templates", ["B"])]


def test_more_templates_than_a_render_may_load_are_not_fetched(values: Wire) -> None:
    """A template that names a thousand others is refused before any of them is fetched."""
    source = "".join(f"{{% include 'x{i}' %}}" for i in range(1000))
    error = failure(Template(name="t", source=source).render)
    assert isinstance(error, RenderLimit)
    assert "more than 100 templates" in str(error)
    assert values.requests == []


def test_checking_and_clean_saves_send_nothing(values: Wire) -> None:
    """Neither a refused source nor an unchanged template reaches the server."""
    template = stored("t", "x")
    values.clear()
    template.save()
    template.source = "{{"
    failure(template.save)
    assert values.requests == []
    template.source = "y"
    template.save()
    assert values.methods == ["PATCH"]
    assert values.body == {"data": {"source": "y"}}


def test_an_unsaved_source_is_rendered_with_stored_includes(session: Session) -> None:
    """What is in the object is rendered; what it includes is what the server has."""
    part = stored("part", "stored")
    part.source = "changed"
    template = stored("t", "old {% include 'part' %}")
    template.source = "new {% include 'part' %}"
    assert template.render() == "new stored"
    assert part.render() == "changed"
    assert Template.get("t").render() == "old stored"


def test_a_change_of_an_included_template_is_seen_at_once(
    backend: Backend, session: Session
) -> None:
    """Compiled templates are kept for as long as they are unchanged on the server, no longer."""
    part = stored("part", "one")
    template = stored("t", "{% include 'part' %}")
    for text in ("two", "three", "two"):
        assert template.render() == part.source
        with backend.session() as other:
            theirs = Template.get("part", session=other.scoped(bucket=session.bucket))
            theirs.source = text
            theirs.save()
        assert template.render() == text
        part.refresh()


class Meddler(Wire):
    """Credentials that let something happen on the server just before a request.

    Attributes:
        before: The end of the URL's path and query, and what happens before it is asked.
    """

    before: tuple[str, Callable[[], object]] | None = None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self.before is not None and self.before[0] in str(request.url):
            (_, act), self.before = self.before, None
            act()
        return super().__call__(request)


@pytest.mark.parametrize("mode", MODES)
def test_a_template_deleted_while_it_renders(backend: Backend, mode: Any) -> None:
    """What was fetched is rendered to the end; what is not there any more is named."""
    meddler = Meddler()
    with backend.session(auth=meddler, bucket=backend.new_id()) as session:
        Bucket(id=session.bucket).save()
        session.kv["x"] = "b"
        part, inner = stored("b", "\n{% include 'c' %}"), stored("c", "c")
        template = stored("t", "{{ x }}{% include 'b' %}")
        calculated = stored("u", "{{ x }}\n{% include x %}")

        meddler.before = ("/kv/", part.delete)
        assert template.render(isolation=mode) == "b\nc"
        error = failure(lambda: template.render(isolation=mode))
        assert (type(error), error.name, error.lineno) == (TemplateError, "t", 1)
        assert "no template named 'b'" in str(error)

        part.save(force=True)
        meddler.before = ("_id=%22c%22", inner.delete)
        error = failure(lambda: template.render(isolation=mode))
        assert (error.name, error.lineno) == ("b", 2)
        assert "no template named 'c'" in str(error)

        meddler.before = ("_id=%22b%22", part.delete)
        error = failure(lambda: calculated.render(isolation=mode))
        assert (error.name, error.lineno) == ("u", 2)


def test_a_refusal_of_the_server_is_not_hidden(backend: Backend) -> None:
    """Who may read a template but not the values gets the server's error, not empty text."""
    with backend.session(bucket=backend.new_id()) as session:
        Bucket(id=session.bucket).save()
        session.kv["x"] = 1
        stored("t", "{{ x }}").permissions.grant("read", Everyone).save()
        with backend.session(auth=("eve", "s3cret"), bucket=session.bucket) as eve:
            template = Template.get("t", session=eve)
            with pytest.raises(Forbidden):
                template.render()
            assert template.render(x=2) == "2"


def test_threads_share_a_session(session: Session) -> None:
    """Renders at the same time do not see each other's templates and values."""
    session.kv["x"] = "stored"
    for number in range(4):
        stored(f"part{number}", f"{number} {{{{ x }}}} {{{{ n }}}}")
    stored("same", "")

    def render(turn: int) -> bool:
        number = turn % 4
        template = Template.get("same", session=session)
        template.source = f"{{% include 'part{number}' %}}"
        mode: Any = "process" if turn % 8 == 0 else "none"
        return template.render(n=turn, isolation=mode) == f"{number} stored {turn}"

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(render, range(64)))


# ------------------------------------------------------------------ trust


@pytest.mark.parametrize("mode", MODES)
def test_models_do_not_reach_a_template(session: Session, mode: Any) -> None:
    """Only plain JSON is taken: no object whose methods a template could call."""
    template = stored("t", "{{ x }}")
    for thing in (template, session, {"deep": [session]}, b"bytes", (1, 2)):
        error = failure(lambda thing=thing: template.render(x=thing, isolation=mode))
        assert "no plain JSON" in str(error)
    assert Template.get("t").source == "{{ x }}"


def test_keys_of_the_bucket_can_be_given_back(session: Session) -> None:
    """What `session.kv` lists serves as overrides."""
    session.kv["x"] = {"y": 1}
    assert Template(name="t", source="{{ x.y }}").render(dict(session.kv.items())) == "1"


@pytest.fixture(scope="module")
def hostile_place() -> Iterator[Session]:
    """A session on a server that has what the hostile templates use."""
    with Session("memory://hostile", auth=("mallory", "s3cret-pass"), bucket="hostile") as session:
        Bucket(id="hostile").save()
        for key, value in BIG.items():
            session.kv[key] = value
        for name, source in STORED.items():
            stored(name, source)
        Template(name="w", source="").render(isolation="process")
        yield session


@pytest.mark.parametrize("row", HOSTILE, ids=lambda row: row.what)
def test_a_hostile_template_is_ended(hostile_place: Session, row: Hostile) -> None:
    """Saved by other means and rendered in a process, each ends as it should, in little time."""
    place = hostile_place.scoped(collection="templates")
    Record(id="t", name="t", source=row.source).save(session=place, force=True)
    template = Template.get("t", session=place)
    started = time.monotonic()
    found: object
    try:
        found = template.render(isolation="process")
    except TemplateError as error:
        found = error
    assert time.monotonic() - started < 10  # a second on a machine that does nothing else
    if "CPU time over" not in str(found):
        assert_ends(found, row.process)
    assert "s3cret-pass" not in str(found)


def test_long_hostile_templates_do_not_keep_this_process_busy(hostile_place: Session) -> None:
    """Sources that take minutes to parse are parsed in the limited process, too."""
    place = hostile_place.scoped(collection="templates")
    long = "{{ {" + "1:1," * 24_000 + "} }}"
    names = [f"long{number}" for number in range(30)]
    place.save_all(Record(id=name, name=name, source=long) for name in names)
    source = "".join(f"{{% include '{name}' %}}" for name in names)
    template = Template(name="t", source=source).save(session=place, force=True)
    started = time.process_time()
    error = failure(lambda: template.render(isolation="process"))
    assert isinstance(error, RenderLimit)
    assert "time over" in str(error)
    assert time.process_time() - started < 1


# ------------------------------------------------------------------ kvp.io


def test_what_kvp_io_lacks_is_said(kvp: Session) -> None:
    """Permissions, history, conditions and batches need a Kinto server, says the error."""
    template = stored("t", "x")
    for act in (
        template.history,
        lambda: template.revert(1),
        lambda: template.permissions.grant("read", Everyone).save(),
        lambda: Template(name="u", source="", permissions={"read": [Everyone]}).save(),
        lambda: Template.find(Template.name == "t").all(),
        lambda: Template.find().order_by(Template.name).all(),
        lambda: Template.find().delete(),
        lambda: kvp.save_all([template]),
        Template(name="new", source="x").render,
    ):
        with pytest.raises(Unsupported, match=r"is a kvp\.io server"):
            act()
    template.source = "y"
    with pytest.raises(Unsupported, match="before it is saved"):
        template.render()


def test_kvp_io_lists_names_only(kvp: Session) -> None:
    """A listed template has its name, can be rendered and deleted, and gets its source later."""
    kvp.kv["x"] = 1
    stored("t", "{{ x }}")
    (listed,) = Template.find()
    assert (listed.name, listed.is_partial) == ("t", True)
    with pytest.raises(NotLoaded, match="refresh"):
        _ = listed.source
    assert listed.render() == "1"
    assert listed.refresh().source == "{{ x }}"
    listed.source = "{{ x + 1 }}"
    assert listed.save().render() == "2"


def test_kvp_io_has_no_preconditions(kvp: Session) -> None:
    """The last writer wins there, and deleting twice is no error."""
    mine, theirs = stored("t", "one"), Template.get("t")
    theirs.source = "theirs"
    theirs.save()
    mine.source = "mine"
    mine.save()
    assert Template.get("t").source == "mine"
    mine.delete()
    theirs.delete()
    with pytest.raises(ConfigurationError, match="never saved"):
        Template(name="t", source="").delete()


def test_kvp_io_templates_deleted_meanwhile(kvp: Session) -> None:
    """Rendering what the server no longer has is an error that names it."""
    template = stored("t", "")
    assert template.render() == ""
    Template.get("t").delete()
    assert failure(template.render).name == "t"


def test_kvp_io_refuses_a_wrong_key(kvp_server: tuple[EmbeddedServer, str]) -> None:
    """A wrong API key is an authentication error, not a missing template."""
    with Session(kvp_server[1], auth=("wrong", "")):
        for act in (lambda: Template.get("t"), Template.find().all, lambda: stored("t", "")):
            with pytest.raises(Unauthorized, match="API key"):
                act()


def test_both_protocols_see_the_same_templates(kvp_server: tuple[EmbeddedServer, str]) -> None:
    """What one API writes the other reads."""
    embedded, url = kvp_server
    embedded.flush()
    with (
        Session(url.removeprefix("kvp+"), auth=(KEY, "")) as kinto,
        Session(url, auth=(KEY, "")) as kvp,
    ):
        Template(name="a.b", source="{{ x }}").save(session=kvp)
        kvp.kv["x"] = [1]
        template = Template.get("a.b", session=kinto)
        assert template.render() == "[1]"
        template.source = "{{ x[0] }}"
        template.save()
        assert Template.get("a.b", session=kvp).render() == "1"


# ------------------------------------------------------------------ the program


def test_importing_the_package_does_not_import_jinja2() -> None:
    """Programs that render nothing do not pay for the template engine."""
    code = "import sys, kinto_orm; kinto_orm.Template; sys.exit('jinja2' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, env={"PYTHONPATH": str(ROOT / "src")}
    )
    assert run.returncode == 0


def test_the_example_program_renders_its_configuration() -> None:
    """The example stores values and templates, renders them, and shows what is refused."""
    example = ROOT / "examples" / "config_templates.py"
    run = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert run.returncode == 0, run.stderr
    for line in (
        "# nginx.conf takes sites, workers",
        "        server_name shop.example;",
        "            proxy_pass http://127.0.0.1:9002;  # blog",
        "worker_processes 8;",
        "# Not rendered: template 'proxy.macros', line 3",
        "# Not saved: template 'nginx.conf', line 10",
    ):
        assert line in run.stdout


def test_a_template_needs_a_session() -> None:
    """Without any session the error says how to give one."""
    for act in (Template(name="t", source="").save, Template(name="t", source="").render):
        with pytest.raises(ConfigurationError, match="Template needs a session"):
            Context().run(act)
