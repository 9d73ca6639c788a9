"""Templates: kept on a server, rendered from its key values, on Kinto and on kvp.io's protocol."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from requests import PreparedRequest
from test_rendering import BIG, HOSTILE, STORED, Hostile, assert_ends

from conftest import Backend, Wire
from kinto_orm import (
    Bucket,
    ConfigurationError,
    Everyone,
    Forbidden,
    InvalidData,
    ModelError,
    NotLoaded,
    PathError,
    Record,
    RenderLimit,
    Session,
    Template,
    TemplateError,
    Unauthorized,
    Unsupported,
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


@pytest.fixture(params=["memory", "sqlite", "postgres", "kvp"])
def anywhere(request: pytest.FixtureRequest, bucket: str) -> Iterator[Session]:
    """The current session, on Kinto with each backend and on kvp.io's protocol; all empty."""
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


# ------------------------------------------------------------------ rendering, anywhere


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


# ------------------------------------------------------------------ as records of Kinto


# ------------------------------------------------------------------ what is fetched


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
