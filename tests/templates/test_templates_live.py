"""Templates on both sessions: kept and found, rendered, and what is fetched for it."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from both import (
    AnySession,
    Place,
    do,
    either,
    either_wire,
    entered,
    in_a_bucket,
)
from conftest import Wire
from kinto_orm import (
    AsyncSession,
    BatchError,
    Bucket,
    Conflict,
    Everyone,
    Forbidden,
    InvalidData,
    ModelError,
    NotFound,
    NotLoaded,
    Record,
    RenderLimit,
    Session,
    Template,
    TemplateError,
    TemplateSyntaxError,
    UndefinedVariable,
    col,
)
from kinto_orm.server import EmbeddedServer, open_memory, serve

# On both sessions.
session = either
wire = either_wire

KEY = "key-1"
KVP = {"kinto.includes": "kinto_orm.server.kvp", "kinto.kvp_api_keys": KEY}
MODES = ("none", "process")

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


@pytest.fixture(scope="module")
def kvp_server() -> Iterator[tuple[EmbeddedServer, str]]:
    """A server of kvp.io's protocol, and its URL."""
    with open_memory(settings=KVP) as embedded, serve(embedded, threads=4) as served:
        yield embedded, f"kvp+{served.url}"


@pytest.fixture(params=["kinto", "kvp"])
async def anywhere(request: pytest.FixtureRequest, place: Place) -> AsyncIterator[AnySession]:
    """The current session, on Kinto and on kvp.io's protocol; all of them empty."""
    if request.param == "kinto":
        async with in_a_bucket(place) as session:
            yield session
        return
    embedded, url = request.getfixturevalue("kvp_server")
    embedded.flush()
    kind = AsyncSession if place.is_awaited else Session
    async with entered(kind(url, auth=(KEY, ""))) as session:
        yield session


async def stored(name: str, source: str) -> Template:
    return await do(Template(name=name, source=source).save)


async def failure(act: Any, *args: Any, **kwargs: Any) -> Any:
    """The error of a template that an act ends in."""
    with pytest.raises(TemplateError) as caught:
        await do(act, *args, **kwargs)
    return caught.value


@pytest.mark.parametrize("name", NAMES)
async def test_any_text_is_a_name(anywhere: AnySession, name: str) -> None:
    """A template is found again by its name, whatever the name looks like."""
    await stored(name, "{{ 1 }}")
    found = await do(Template.get, name)
    assert (found.name, found.source) == (name, "{{ 1 }}")
    assert [each.name for each in await do(Template.find())] == [name]
    await do(found.delete)
    assert await do(Template.get_or_none, name) is None


@pytest.mark.parametrize(
    "source", ["", "\n", " a \r\n\n", '"quoted"', "{% raw %}{{{% endraw %}", "é"]
)
async def test_the_source_comes_back_as_it_was(anywhere: AnySession, source: str) -> None:
    """No character of a source is lost or changed, an empty source included."""
    await stored("t", source)
    assert (await do(Template.get, "t")).source == source


async def test_a_template_is_saved_changed_and_deleted(anywhere: AnySession) -> None:
    """The verbs of every record work by name."""
    template = await stored("t", "one")
    assert not template.is_new
    template.source = "two"
    assert template.diff() == {"source": ("one", "two")}
    await do(template.save)
    assert template.diff() == {}
    assert (await do(Template.get, "t")).source == "two"
    assert (await do(template.delete)).id == template.id
    with pytest.raises(NotFound, match="'t'"):
        await do(Template.get, "t")
    with pytest.raises(Conflict, match="it was deleted"):
        await do(template.save)
    await do(template.save, force=True)
    assert (await do(anywhere.get, Template, "t")).source == "two"


async def test_get_or_create_creates_once(anywhere: AnySession) -> None:
    """The first call creates the template, the second finds it."""
    assert (await do(Template.get_or_create, "t", source="1"))[1] is True
    found, created = await do(Template.get_or_create, "t", source="2")
    assert (found.source, created) == ("1", False)


async def test_refresh_takes_what_the_server_has(anywhere: AnySession) -> None:
    """Refreshing drops what is not saved, or keeps it on request, and misses what is gone."""
    mine, theirs = await stored("t", "one"), await do(Template.get, "t")
    theirs.source = "two"
    await do(theirs.save)
    assert await do(mine.refresh) is mine
    assert (mine.source, mine.diff()) == ("two", {})
    mine.source = "three"
    assert (await do(mine.refresh, keep_changes=True)).source == "three"
    assert (await do(mine.refresh)).source == "two"
    await do(theirs.delete)
    with pytest.raises(NotFound):
        await do(mine.refresh)


async def test_where_nothing_was_saved_nothing_is_found(anywhere: AnySession) -> None:
    """Reading before the first save finds nothing, and is no error but for get."""
    assert await do(Template.find().all) == []
    assert await do(Template.find().first) is None
    assert await do(Template.find().count) == 0
    assert not await do(Template.find().exists)
    assert await do(Template.get_or_none, "t") is None
    with pytest.raises(NotFound, match="get Template 't'"):
        await do(Template.get, "t")


async def test_find_lists_all(anywhere: AnySession) -> None:
    """Every template is listed, with a limit or without."""
    for name in "abc":
        await stored(name, "")
    assert {each.name for each in await do(Template.find())} == {"a", "b", "c"}
    assert await do(Template.find().count) == 3
    assert len(await do(Template.find().limit(2).all)) == 2


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
async def test_what_cannot_work_is_not_saved(
    anywhere: AnySession, source: str, kind: type[TemplateError], lineno: int | None, words: str
) -> None:
    """A source that does not compile is refused before anything is sent, with its line."""
    good = await stored("bad.conf", "good")
    good.source = source
    error = await failure(good.save)
    assert type(error) is kind
    assert (error.name, error.lineno) == ("bad.conf", lineno)
    assert words in str(error)
    await failure(good.save, force=True)
    assert (await do(Template.get, "bad.conf")).source == "good"


async def test_what_hangs_a_compiler_is_saved_at_once(anywhere: AnySession) -> None:
    """Checking a source calculates nothing of it, so that a power without end does no harm."""
    started = time.monotonic()
    template = await stored("t", "{{ 9**(9**9) }}")
    assert time.monotonic() - started < 1
    assert "4300 digits" in str(await failure(template.render))


async def test_a_template_renders_from_the_values(anywhere: AnySession) -> None:
    """Values of the bucket are taken by root key; `values` reaches those that are no names."""
    await do(anywhere.kv.set, "site", {"name": "example.org", "ports": [80, 443]})
    await do(anywhere.kv.set, ("my key",), None)
    template = await stored(
        "nginx.conf",
        "server {{ site.name }}\n{% for p in site.ports %}listen {{ p }};\n{% endfor %}"
        "{{ values['my key'] }} {{ site.ports[1] }}\n",
    )
    expected = "server example.org\nlisten 80;\nlisten 443;\nNone 443\n"
    assert await do(template.render) == expected
    assert await do((await do(Template.get, "nginx.conf")).render) == expected
    assert await do(template.variables) == {"site", "my key"}


async def test_overrides_take_the_place_of_whole_root_keys(anywhere: AnySession) -> None:
    """A value that is given is taken instead of the stored one, and not mixed with it."""
    await do(anywhere.kv.set, "a", {"x": 1, "y": 2})
    await do(anywhere.kv.set, "b", "stored")
    template = await stored("t", "{{ a }}|{{ b }}")
    assert await do(template.render, {"a": 5}) == "5|stored"
    assert await do(template.render, {"a": 5}, a=6, b=None) == "6|None"
    assert await do(template.render, a={"x": 0}, b=[]) == "{'x': 0}|[]"
    assert await do(template.render, {"undefined": 1, "isolation": 2}, a=1) == "1|stored"
    error = await failure((await stored("u", "{{ a.y }}")).render, a={"x": 0})
    assert isinstance(error, UndefinedVariable)


async def test_undefined_values_are_strict_unless_asked(anywhere: AnySession) -> None:
    """A missing value is an error with its name and line, or nothing at all on request."""
    template = await stored("t", "a\n[{{ missing }}]")
    error = await failure(template.render)
    assert type(error) is UndefinedVariable
    assert (error.name, error.lineno) == ("t", 2)
    assert "missing" in str(error)
    assert await do(template.render, undefined="lenient") == "a\n[]"


async def test_templates_use_other_stored_ones(anywhere: AnySession) -> None:
    """Include, extends, import and macros reach the templates of the same place by name."""
    await do(anywhere.kv.set, "x", "X")
    await stored("base.conf", "<{% block b %}{% endblock %}>")
    await stored("macros", "{% macro m(v) %}[{{ v }}]{% endmacro %}")
    await stored("part", "part {{ x }}")
    page = await stored(
        "page",
        "{% extends 'base.conf' %}{% block b %}{% from 'macros' import m %}"
        "{% include 'part' %}{{ m(y) }}{% endblock %}",
    )
    assert await do(page.render, y=1) == "<part X[1]>"
    assert await do(page.variables) == {"x", "y"}


async def test_a_missing_template_is_named(anywhere: AnySession) -> None:
    """An include of what is not there says what is not there, and where it is included."""
    page = await stored("page", "\n{% include 'gone' %}")
    error = await failure(page.render)
    assert (type(error), error.name, error.lineno) == (TemplateError, "page", 2)
    assert "no template named 'gone'" in str(error)
    assert await do((await stored("kind", "{% include 'gone' ignore missing %}ok")).render) == "ok"


@pytest.mark.parametrize("name", ["'a\\u0000b'", "'" + "é" * 999 + "'", "''", "'../x'"])
async def test_a_name_that_nothing_can_have_is_missing(anywhere: AnySession, name: str) -> None:
    """An include of an impossible name ends like one of a missing template."""
    error = await failure((await stored("page", "{% include " + name + " %}")).render)
    assert "no template named" in str(error)
    assert (
        await do(
            (await stored("other", "[{{ values[" + name + "] }}]")).render, undefined="lenient"
        )
        == "[]"
    )


async def test_a_template_that_includes_itself_ends(anywhere: AnySession) -> None:
    """A circle of includes ends at the limit for depth."""
    await stored("b", "{% include 'a' %}")
    circle = await stored("a", "{% include 'b' %}")
    assert "deeper than 40 levels" in str(await failure(circle.render))


async def test_escaping_goes_by_the_name(anywhere: AnySession) -> None:
    """Templates named like HTML escape their values."""
    assert await do((await stored("a.html", "{{ x }}")).render, x="<") == "&lt;"
    assert await do((await stored("a.conf", "{{ x }}")).render, x="<") == "<"


async def test_rendered_documents_are_read(anywhere: AnySession) -> None:
    """Rendered JSON and YAML come back as values."""
    await do(anywhere.kv.set, "ports", [80, 443])
    template = await stored("t.json", '{"ports": {{ ports|tojson }}, "n": {{ n }}}')
    assert await do(template.render_json, n="null") == {"ports": [80, 443], "n": None}
    assert await do(template.render_json, {"ports": []}, n=1) == {"ports": [], "n": 1}
    text = "ports:\n{% for p in ports %}- {{ p }}\n{% endfor %}day: 2030-01-31\n"
    assert await do((await stored("t.yaml", text)).render_yaml) == {
        "ports": [80, 443],
        "day": "2030-01-31",
    }


@pytest.mark.parametrize(
    ("act", "source", "lineno"),
    [
        ("render_json", '{"a": 1,\n\n "b": {{ x }}\n}', 3),
        ("render_yaml", "a: 1\n{% set y = 2 %}b: {{ x }}\nc: 2\n", 2),
    ],
)
async def test_an_unreadable_document_says_the_line(
    anywhere: AnySession, act: str, source: str, lineno: int
) -> None:
    """The line is that of the rendered text."""
    template = await stored("t", source)
    error = await failure(getattr(template, act), x="]")
    assert (error.name, error.lineno) == ("t", lineno)
    assert f"line {lineno} of what template 't' rendered to" in str(error)


async def test_what_is_wrong_in_a_call_is_said(anywhere: AnySession) -> None:
    """Modes that do not exist and values that are no JSON are refused."""
    template = await stored("t", "{{ x }}")
    for wrong in ({"undefined": "maybe"}, {"isolation": "thread"}):
        with pytest.raises(ValueError, match="'strict' or 'lenient'"):
            await do(template.render, x=1, **wrong)  # type: ignore[arg-type]
    with pytest.raises((TemplateError, InvalidData)):
        await do(template.render, x=object())  # type: ignore[arg-type]


async def test_a_saved_template_keeps_its_name(session: AnySession) -> None:
    """Renaming would leave the old one behind; the message says what to do."""
    template = await stored("a.b", "")
    with pytest.raises(ModelError, match="save a new Template"):
        template.name = "c"
    template.name = "a.b"
    assert (await do(Template.get, "a.b")).name == "a.b"


async def test_copies_are_templates_of_the_same_name(session: AnySession) -> None:
    """Copying and pickling keep the name, the id and what is saved."""
    template = await stored("a.b", "x")
    for made in (
        copy.copy(template),
        copy.deepcopy(template),
        pickle.loads(pickle.dumps(template)),
    ):
        assert (made.id, made.name, made.diff()) == (template.id, "a.b", {})


async def test_the_record_is_plain(session: AnySession) -> None:
    """What is stored is name and source in the collection `templates`, for any other client."""
    template = await stored("nginx.conf", "x")
    path = f"/buckets/{session.bucket}/collections/templates/records/x--nginx-2econf"
    assert template.uri == path
    plain = await do(session.scoped(collection="templates").get, Record, "x--nginx-2econf")
    assert plain.model_extra == {"name": "nginx.conf", "source": "x"}


async def test_reading_makes_no_collection(session: AnySession) -> None:
    """Only the first save makes the collection, and only the collection."""
    await do(Template.find().all)
    await do(Template.get_or_none, "t")
    await do(Template(name="t", source="{{ x }}").render, undefined="lenient")
    here = Bucket(id=session.bucket).collections
    assert {each.id for each in await do(here.find())} == {"todos"}
    await stored("t", "")
    assert {each.id for each in await do(here.find())} == {"todos", "templates"}


async def test_a_foreign_bucket_is_not_made(place: Place) -> None:
    """A bucket that does not exist is an error that says what to do."""
    async with entered(place.session(bucket=place.new_id())) as session:
        with pytest.raises(NotFound, match=r"save Bucket\(id="):
            await stored("t", "")
        with pytest.raises((Forbidden, NotFound)):
            await do(Template.get, "t")
        with pytest.raises(Forbidden):
            await do(Template.find().all)
        assert session.bucket not in {each.id for each in await do(Bucket.find())}


async def test_the_personal_bucket_is_made_on_the_first_save(place: Place) -> None:
    """A user's own bucket needs no preparation, neither to read nor to write."""
    async with entered(place.session(auth=(place.new_id("user"), "s3cret"))) as session:
        template = Template(name="t", source="{{ x }}{% include 'u' ignore missing %}")
        assert await do(template.render, undefined="lenient") == ""
        assert await do(Template.get_or_none, "t") is None
        assert await do(Template.find().count) == 0
        await do(template.save)
        await do(session.kv.set, "x", 1)
        assert await do((await do(Template.get, "t")).render) == "1"


async def test_two_editors_meet_a_conflict(session: AnySession) -> None:
    """A template that somebody else saved is not overwritten, nor created twice, nor deleted."""
    mine, theirs = await stored("t", "one"), await do(Template.get, "t")
    theirs.source = "theirs"
    await do(theirs.save)
    mine.source = "mine"
    with pytest.raises(Conflict) as caught:
        await do(mine.save)
    assert (caught.value.base.source, caught.value.remote.source) == ("one", "theirs")
    assert caught.value.fields == {"source"}
    with pytest.raises(Conflict):
        await do(mine.delete)
    with pytest.raises(Conflict):
        await stored("t", "new")
    assert (await do(caught.value.merge(prefer="local").save)).source == "mine"


async def test_history_goes_back(session: AnySession) -> None:
    """Earlier sources are listed, newest first, and one of them can be taken again."""
    template = await stored("a.b", "one")
    first = template.last_modified
    assert first is not None
    template.source = "two"
    await do(template.save)
    assert [entry.target["data"]["source"] for entry in await do(await do(template.history))] == [
        "two",
        "one",
    ]  # type: ignore[index,call-overload]
    assert (await do(template.at, first)).source == "one"
    assert (await do(template.revert, first)).source == "one"
    assert (await do(Template.get, "a.b")).source == "one"


async def test_permissions_are_those_of_a_record(place: Place, session: AnySession) -> None:
    """A template can be shared; who may not read it does not get it."""
    template = await stored("a.b", "{{ 1 }}")
    async with entered(place.session(auth=("eve", "s3cret"), bucket=session.bucket)) as eve:
        with pytest.raises(Forbidden):
            await do(Template.get, "a.b", session=eve)
        await do(template.permissions.grant("read", Everyone).save)
        assert (await do(Template.get, "a.b", session=eve)).source == "{{ 1 }}"
        with pytest.raises(Forbidden):
            await stored("c", "")


async def test_only_permissions_change_of_what_no_longer_compiles(session: AnySession) -> None:
    """A source that somebody stored by other means can be read and shared, not saved again."""
    await stored("t", "")
    await do(
        Record(id="old", name="old", source="{{ ").save,
        session=session.scoped(collection="templates"),
    )
    template = await do(Template.get, "old")
    template.permissions.grant("read", Everyone)
    await do(template.save)
    assert Everyone in (await do(Template.get, "old")).permissions.read
    assert isinstance(await failure(template.render), TemplateSyntaxError)
    template.source = "{{ 1 }}"
    assert await do((await do(template.save)).render) == "1"


async def test_conditions_and_parts(session: AnySession) -> None:
    """Templates are found by conditions; one that is loaded in part cannot be rendered."""
    for name in ("a.conf", "b.conf", "c.txt"):
        await stored(name, "x")
    found = Template.find(col(Template.name).like("*.conf")).order_by(col(Template.name).desc())
    assert [each.name for each in await do(found)] == ["b.conf", "a.conf"]
    part = await do(Template.find(Template.name == "c.txt").only("name").one)
    for act in (part.render, part.save):
        with pytest.raises(NotLoaded, match="refresh"):
            await do(act)
    assert await do((await do(part.refresh)).render) == "x"
    assert await do(Template.find(Template.name != "a.conf").delete) == 2


async def test_templates_go_in_batches(session: AnySession) -> None:
    """A batch saves and gets by name, and a bad source fails by itself."""
    await stored("first", "")
    batch = session.batch()
    batch.save(Template(name="a.b", source="1"), Template(name="bad", source="{{"))
    got = batch.get(Template, "a.b")
    with pytest.raises(BatchError) as caught:
        await do(batch.run)
    assert [type(each) for each in caught.value.exceptions] == [TemplateSyntaxError]
    assert got.result is not None
    assert got.result.source == "1"
    summary = await do(session.save_all, (Template(name=f"{i}.conf", source="") for i in range(30)))
    assert summary.created == 30
    assert await do(Template.find().count) == 32


async def test_a_collection_of_ones_own(session: AnySession) -> None:
    """A subclass keeps its templates elsewhere, with more fields; they include each other only."""

    class Mail(Template, collection="mails"):
        subject: str = ""

    await stored("part", "templates")
    await do(Mail(name="part", source="mails").save)
    mail = await do(Mail(name="m", source="{% include 'part' %}", subject="Hi").save)
    assert (await do(Mail.get, "m")).subject == "Hi"
    assert await do(mail.render) == "mails"
    assert await do((await stored("m", "{% include 'part' %}")).render) == "templates"


async def test_a_template_of_another_bucket_takes_the_values_of_that_bucket(
    place: Place, session: AnySession
) -> None:
    """Values and includes come from where the template is, not from the current scope."""
    other = session.scoped(bucket=place.new_id())
    await do(Bucket(id=other.bucket).save)
    await do(session.kv.set, "x", "here")
    await do(other.kv.set, "x", "there")
    await do(Template(name="part", source="-{{ x }}").save, session=other)
    template = await do(
        Template(name="t", source="{{ x }}{% include 'part' %}").save, session=other
    )
    assert await do(template.render) == "there-there"
    assert await do((await do(Template.get, "t", session=other)).render) == "there-there"


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
async def values(wire: Wire) -> Wire:
    """What the current session sends, with some keys stored."""
    for key in "abcd":
        await do(wire.session.kv.set, key, key.upper())
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
async def test_only_named_values_are_fetched(
    values: Wire, source: str, given: dict[str, Any], ids: list[str] | None
) -> None:
    """One request fetches what the template names, none what it does not; all only if it must."""
    await do(Template(name="t", source=source).render, given, undefined="lenient")
    assert asked(values) == ([] if ids is None else [("kv", ids)])


@pytest.mark.parametrize("key", ["namespace", "range", "dict", "cycler", "joiner", "lipsum"])
async def test_a_key_wins_over_a_function_of_jinja2(anywhere: AnySession, key: str) -> None:
    """A stored value is written under whatever name, as one that is given is."""
    template = await stored("t", f"{{{{ {key} }}}}")
    for mode in MODES:
        assert (await failure(template.render, isolation=mode)).name == "t"
    await do(anywhere.kv.set, key, "stored")
    for mode in MODES:
        assert await do(template.render, isolation=mode) == "stored"
        assert await do(template.render, {key: "given"}, isolation=mode) == "given"


async def test_names_outside_ascii(anywhere: AnySession) -> None:
    """A key with accents is a name in a template; escapes by a character's name work."""
    await do(anywhere.kv.set, "été", "chaud")
    template = await stored("t", "{{ été }} {{ '\\N{BULLET}' }}")
    for mode in MODES:
        assert await do(template.render, isolation=mode) == "chaud •"


async def test_half_of_a_character_is_an_error_everywhere(anywhere: AnySession) -> None:
    """What has no UTF-8 is an error of the template, not of the server."""
    template = await stored("t", "{{ '\\ud800' }}")
    for mode in MODES:
        error = await failure(template.render, isolation=mode)
        assert "half of a surrogate pair" in str(error)


async def test_a_level_of_inclusion_is_one_request(values: Wire) -> None:
    """Templates of one level come together, each of them once, then the values of all."""
    for name, source in {
        "b1": "{% include 'c1' %}{{ a }}",
        "b2": "{% include 'c1' %}{% import 'c2' as c %}{{ b }}",
        "c1": "{{ c }}",
        "c2": "{% macro m() %}{{ d }}{% endmacro %}",
    }.items():
        await stored(name, source)
    values.clear()
    template = Template(name="t", source="{% include 'b1' %}{% include ['b2', 'no'] %}")
    assert await do(template.render) == "CACB"
    assert asked(values) == [
        ("templates", ["b1", "b2", "no"]),
        ("templates", ["c1", "c2"]),
        ("kv", ["a", "b", "c", "d"]),
    ]
    values.clear()
    assert await do(template.variables) == {"a", "b", "c", "d"}
    assert [collection for collection, _ in asked(values)] == ["templates", "templates"]


async def test_a_process_fetches_one_by_one_and_each_once(values: Wire) -> None:
    """What is not trusted is not parsed here, so that its includes are met one after the other."""
    await stored("b", "{% include 'c' %}{{ a }}")
    await stored("c", "{{ c }}")
    values.clear()
    template = Template(name="t", source="{% include 'b' %}{% include 'c' %}")
    assert await do(template.render, isolation="process") == "CAC"
    assert sorted(asked(values)) == [
        ("kv", ["a", "c"]),
        ("templates", ["b"]),
        ("templates", ["c"]),
    ]


async def test_calculated_names_are_fetched_when_they_are_met(values: Wire) -> None:
    """A template that is named by a value is fetched while it renders, and takes any value."""
    await stored("B", "{{ c }}")
    values.clear()
    template = Template(name="t", source="{% include b %}{% include b %}")
    assert await do(template.render) == "CC"
    assert asked(values) == [("kv", []), ("templates", ["B"])]


async def test_more_templates_than_a_render_may_load_are_not_fetched(values: Wire) -> None:
    """A template that names a thousand others is refused before any of them is fetched."""
    source = "".join(f"{{% include 'x{i}' %}}" for i in range(1000))
    error = await failure(Template(name="t", source=source).render)
    assert isinstance(error, RenderLimit)
    assert "more than 100 templates" in str(error)
    assert values.requests == []


async def test_checking_and_clean_saves_send_nothing(values: Wire) -> None:
    """Neither a refused source nor an unchanged template reaches the server."""
    template = await stored("t", "x")
    values.clear()
    await do(template.save)
    template.source = "{{"
    await failure(template.save)
    assert values.requests == []
    template.source = "y"
    await do(template.save)
    assert values.methods == ["PATCH"]
    assert values.body == {"data": {"source": "y"}}


async def test_an_unsaved_source_is_rendered_with_stored_includes(session: AnySession) -> None:
    """What is in the object is rendered; what it includes is what the server has."""
    part = await stored("part", "stored")
    part.source = "changed"
    template = await stored("t", "old {% include 'part' %}")
    template.source = "new {% include 'part' %}"
    assert await do(template.render) == "new stored"
    assert await do(part.render) == "changed"
    assert await do((await do(Template.get, "t")).render) == "old stored"


async def test_a_change_of_an_included_template_is_seen_at_once(
    place: Place, session: AnySession
) -> None:
    """Compiled templates are kept for as long as they are unchanged on the server, no longer."""
    part = await stored("part", "one")
    template = await stored("t", "{% include 'part' %}")
    for text in ("two", "three", "two"):
        assert await do(template.render) == part.source
        async with entered(place.session()) as other:
            theirs = await do(Template.get, "part", session=other.scoped(bucket=session.bucket))
            theirs.source = text
            await do(theirs.save)
        assert await do(template.render) == text
        await do(part.refresh)
