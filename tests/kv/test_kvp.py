"""Key values over kvp.io's protocol: on our plugin, and on a server with kvp.io's own habits."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import ValidationError

from conftest import Wire
from faults import FaultyServer, answer_lost, passed_on, says
from kinto_orm import (
    Account,
    BadReply,
    Bucket,
    ConnectFailed,
    InvalidData,
    KeyNotFound,
    KeyValues,
    PathError,
    Record,
    Retry,
    Session,
    Template,
    TemplateError,
    TemplateSyntaxError,
    Unauthorized,
    UndefinedVariable,
    Unsupported,
)
from kinto_orm.server import open_local, open_memory, open_sqlite, serve

KEY, OTHER_KEY = "key-1", "key-2"
SETTINGS = {
    "kinto.includes": "kinto_orm.server.kvp",
    "kinto.kvp_api_keys": f"{KEY} {OTHER_KEY}",
}
DOCUMENTED = {"foo": 123, "bar": True, "baz": {"boo": 321, "far": False, "faz": [1, 2, 3]}}
FAST = Retry(backoff_factor=0.001)


class OldService(BaseHTTPRequestHandler):
    """kvp.io as its bindings' tests describe it: one content type, 404 for a wrong key."""

    protocol_version = "HTTP/1.1"
    server: Any

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, _, endpoint, *path = urlsplit(self.path).path.split("/")
        known = self.headers.get("Authorization") == "Basic a2V5LTE6"
        if not known or endpoint not in ("account", "bucket"):
            self._say(404, "Not Found")
        elif endpoint == "account":
            self._say(200, json.dumps({"id": "me", "email": "me@kvp.io", "reads": 7, "size": 9}))
        else:
            self._bucket([unquote(each) for each in path], body)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def _bucket(self, path: list[str], body: bytes) -> None:
        value: Any = self.server.values
        if path == [""]:
            return self._say(200, json.dumps(sorted(value)))
        try:
            for segment in path[:-1]:
                value = value[_member(value, segment)]
            last = _member(value, path[-1])
            if self.command == "POST":
                value[last] = json.loads(body)
            elif self.command == "DELETE":
                del value[last]
            else:
                found = value[last]
                return self._say(200, found if isinstance(found, str) else json.dumps(found))
        except (KeyError, IndexError, TypeError):
            pass
        return self._say(200, "")

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _member(value: object, segment: str) -> str | int:
    return int(segment) - 1 if isinstance(value, list) and segment.isdigit() else segment


@pytest.fixture
def old() -> Iterator[str]:
    """The URL of a server with kvp.io's own habits."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OldService) as server:
        server.values = {}  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"kvp+http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Give a Kinto with the plugin, and its URL, by the backend's name."""
    servers: dict[str, Any] = {}
    with ExitStack() as stack:

        def give(backend: str) -> Any:
            if backend not in servers:
                directory = tmp_path_factory.mktemp("kvp")
                if backend == "memory":
                    server = open_memory(settings=SETTINGS)
                elif backend == "sqlite":
                    path = directory / "app.db"
                    server = open_sqlite(path, settings=SETTINGS, durable=False)
                else:
                    server = open_local(directory, settings=SETTINGS, durable=False)
                stack.enter_context(server)
                servers[backend] = server, stack.enter_context(serve(server)).url
            return servers[backend]

        yield give


def empty(opened: Callable[[str], Any], backend: str) -> str:
    """Give the URL of an empty Kinto with the plugin, `/v1` at its end."""
    server, url = opened(backend)
    server.flush()
    return str(url)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def kinto_url(request: pytest.FixtureRequest, opened: Callable[[str], Any]) -> str:
    """The URL of an empty Kinto with the plugin."""
    return empty(opened, request.param)


@pytest.fixture
def url(kinto_url: str) -> str:
    """The same, as a session for kvp.io's protocol takes it."""
    return "kvp+" + kinto_url.removesuffix("/v1")


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    """A session over kvp.io's protocol; the current one."""
    with Session(url, auth=(KEY, "")) as session:
        yield session


@pytest.fixture
def kv(session: Session) -> KeyValues:
    """Its key values."""
    return session.kv


@pytest.fixture
def old_kv(old: str) -> Iterator[KeyValues]:
    """Key values on a server with kvp.io's own habits."""
    with Session(old, auth=(KEY, "")) as session:
        yield session.kv


@pytest.fixture(params=["memory", "postgres", "kvp.io"])
def either(
    request: pytest.FixtureRequest, opened: Callable[[str], Any], old: str
) -> Iterator[KeyValues]:
    """Key values on the plugin, and on a server with kvp.io's own habits."""
    url = old
    if request.param != "kvp.io":
        url = "kvp+" + empty(opened, request.param).removesuffix("/v1")
    with Session(url, auth=(KEY, "")) as session:
        yield session.kv


# The mapping


def test_documented_example(either: KeyValues) -> None:
    """What the bindings' documentation shows works, with Python's indices."""
    either["my_key"] = DOCUMENTED
    assert either["my_key"] == DOCUMENTED
    assert either["my_key/baz/faz"] == [1, 2, 3]
    assert either["my_key/baz/faz/0"] == 1
    either["my_key/baz/faz/0"] = "one"
    assert either["my_key/baz/faz"] == ["one", 2, 3]
    assert list(either) == ["my_key"]
    del either["my_key/baz/faz/1"]
    assert either["my_key/baz/faz"] == ["one", 3]
    del either["my_key/baz"]
    assert either["my_key"] == {"foo": 123, "bar": True}
    del either["my_key"]
    assert len(either) == 0


@pytest.mark.parametrize(
    "value",
    ["bar", "", "é ☃", " x\n", 1, 1.5, True, False, None, [], {}, [""], {"a": "1", "b": ["null"]}],
)
def test_values_round_trip(either: KeyValues, value: Any) -> None:
    """A value comes back as what it was, wherever it stands."""
    either["k"] = value
    either["below"] = {"x": value}
    for path in ("k", "below/x"):
        assert either[path] == value
        assert type(either[path]) is type(value)


@pytest.mark.parametrize("text", ["123", "null", "true", '"x"', '{"a": 1}', "[]"])
def test_strings_that_look_like_json(kv: KeyValues, old_kv: KeyValues, text: str) -> None:
    """The plugin says what is a string; of kvp.io itself only strings below a root key are sure."""
    kv["k"] = text
    assert kv["k"] == text
    for each in (kv, old_kv):
        each["o"] = {"k": text}
        assert each["o/k"] == text
    old_kv["k"] = text
    assert old_kv["k"] == json.loads(text)


def test_missing_is_neither_empty_nor_null(either: KeyValues) -> None:
    """A missing value is told from an empty string, though the protocol answers both alike."""
    either["k"] = {"empty": "", "null": None, "list": [0]}
    either["empty"] = ""
    assert either["empty"] == either["k/empty"] == ""
    assert either["k/null"] is None
    for path in ("nope", "nope/x", "k/nope", "k/list/1", "k/empty/x", "empty/x"):
        assert path not in either
        assert either.get(path, 5) == either.pop(path, 5) == 5
        for act in (either.__getitem__, either.delete):
            with pytest.raises(KeyNotFound):
                act(path)
        either.delete(path, missing_ok=True)
    assert either.get_many(["empty", "k/null", "nope", "k/nope"]) == {"empty": "", "k/null": None}


def test_mapping_methods(kv: KeyValues) -> None:
    """It is the same mapping as on Kinto."""
    kv.update({"a": 1, "ab": [2], "b.c": {"d": 3}})
    assert dict(kv) == dict(kv.items()) == {"a": 1, "ab": [2], "b.c": {"d": 3}}
    assert sorted(kv.keys("a")) == ["a", "ab"]
    assert dict(kv.items("b")) == {"b.c": {"d": 3}}
    assert len(kv) == 3
    assert [2] in kv.values()
    assert kv.pop("b.c/d") == 3
    assert kv.setdefault("a", 9) == 1
    assert kv.setdefault("n/m", 9) == 9
    kv["n/list"] = []
    kv["n/list/-"] = {"0": "digit"}
    kv["n/list/0/0"] = "key"
    kv["n/list/0/1/2"] = None
    assert kv["n"] == {"m": 9, "list": [{"0": "key", "1": {"2": None}}]}
    kv.clear()
    assert list(kv) == []


@pytest.mark.parametrize(
    "key",
    ["a?b", "a#b", "%2F", "a%2Fb", "a b", "été", "n.x", "'\"", "_x", "x--", "~", "a+b&c=d", ":"],
)
def test_keys_are_quoted(kv: KeyValues, key: str) -> None:
    """No character of a key is taken for a part of the URL."""
    kv[key] = {}
    kv[(key, key)] = key
    assert kv[(key, key)] == key
    assert list(kv) == [key]
    del kv[(key, key)]
    assert kv[key] == {}
    del kv[key]
    assert list(kv) == []


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("k/s/x", "'s' holds a string"),
        ("k/list/2", "not an index"),
        ("k/../x", "not allowed"),
        ("k//x", "empty"),
        (("a/b",), "separator"),
        (("k", "a/b"), "separator"),
    ],
)
def test_paths_that_cannot_be_written(kv: KeyValues, path: Any, complaint: str) -> None:
    """What the protocol would take for something else is refused, and nothing changes."""
    kv["k"] = before = {"s": "text", "list": [1, 2]}
    with pytest.raises(PathError, match=complaint):
        kv[path] = 1
    assert dict(kv) == {"k": before}


@pytest.mark.parametrize("value", [float("nan"), 2**64, "a\0b", {1: "a", "1": "b"}])
def test_values_that_the_server_would_change(kv: KeyValues, value: Any) -> None:
    """What no server can store is refused before it is sent."""
    with pytest.raises(InvalidData, match="cannot be stored"):
        kv["k"] = value
    assert list(kv) == []


def test_large_floats(kv: KeyValues) -> None:
    """They come back as floats, which can be stored again."""
    kv["k"] = {"f": 1e300}
    kv["k"] = kv["k"]
    kv["k/copy"] = kv["k/f"]
    assert kv["k"] == {"f": 1e300, "copy": 1e300}


def test_a_value_of_5_megabytes(kv: KeyValues) -> None:
    """A large value goes to and fro."""
    kv["big"] = {"text": "x" * 5_000_000}
    assert len(kv["big/text"]) == 5_000_000  # type: ignore[arg-type]


def test_nested_writes_of_several_writers_are_all_kept(url: str, kv: KeyValues) -> None:
    """4 writers with 10 nested writes each on one key lose nothing."""

    def write(writer: int) -> None:
        with Session(url, auth=(KEY, "")) as own:
            for number in range(10):
                own.kv[f"shared/w{writer}/{number}"] = number

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    stored: Any = kv["shared"]
    assert {name: len(each) for name, each in stored.items()} == {f"w{n}": 10 for n in range(4)}


def test_what_one_protocol_writes_the_other_reads(kinto_url: str, kv: KeyValues) -> None:
    """The API key is the same user over Kinto's own protocol, with the same data."""
    with Session(kinto_url, auth=(KEY, "")) as kinto:
        kv["k.x/list"] = [1, {"a": 2}]
        assert kinto.kv["k.x/list/1/a"] == 2
        kinto.kv["k.x/list/1/a"] = "3"
        assert kv["k.x"] == {"list": [1, {"a": "3"}]}


def test_each_key_has_its_own(url: str, kv: KeyValues) -> None:
    """Another API key sees none of it."""
    kv["k"] = 1
    with Session(url, auth=(OTHER_KEY, "")) as other:
        assert list(other.kv) == []


# The account


def test_the_account(session: Session) -> None:
    """The account shows its reads and its size, and never the key."""
    session.kv["foo"] = "bar"
    session.kv["foo"]
    account = session.account()
    assert (account.reads, account.size) == (1, 5)
    assert (account.email, account.principals, account.bucket) == (None, None, None)
    assert account.id.startswith("basicauth:")
    assert KEY not in repr(account)


def test_the_account_of_kvpio(old: str) -> None:
    """What kvp.io says of an account is what the account has."""
    with Session(old, auth=(KEY, "")) as session:
        account = session.account()
    assert (account.id, account.email, account.reads, account.size) == ("me", "me@kvp.io", 7, 9)


@pytest.mark.parametrize("auth", [("wrong", ""), (KEY, "with a password"), None])
def test_a_wrong_key(url: str, auth: Any) -> None:
    """An unknown API key is Unauthorized everywhere, with the remedy, and the key not shown."""
    session = Session(url, auth=auth)
    for act in (
        session.account,
        lambda: session.kv["k"],
        lambda: session.kv.set("k/a", 1),
        lambda: list(session.kv),
        lambda: Template.find(session=session).all(),
    ):
        with pytest.raises(Unauthorized, match="knows no account of this API key") as raised:
            act()
        assert "wrong" not in str(raised.value)


def test_a_wrong_key_on_kvpio(old: str) -> None:
    """The 404 of kvp.io itself means the same."""
    with pytest.raises(Unauthorized, match="knows no account of this API key"):
        Session(old, auth=("wrong", "")).account()


# Templates


def test_templates(session: Session) -> None:
    """Templates are listed, stored, read, rendered and deleted."""
    session.kv["foo"] = {"bar": [123]}
    source = "{{ foo.bar[0] }} é\n"
    Template(name="a b/c.html?", source=source).save()
    Template(name="empty", source="").save()
    assert [each.name for each in Template.find()] == ["a b/c.html?", "empty"]
    assert Template.get("a b/c.html?").source == source
    empty = Template.get("empty")
    assert empty.source == ""
    assert Template.get_or_none("nope") is None
    assert Template.get("a b/c.html?").render() == "123 é\n"
    assert Template.get("a b/c.html?").render({"foo": {"bar": ["x"]}}) == "x é\n"
    assert empty.render() == ""
    Template.get("empty").delete()
    Template(name="empty", source="").delete(force=True)
    with pytest.raises(TemplateError, match="none of this name"):
        empty.render()


def test_errors_of_templates(session: Session) -> None:
    """What is wrong with a template is the same error as on Kinto, with its line."""
    with pytest.raises(TemplateSyntaxError) as syntax:
        Template(name="bad", source="fine\n{{ oops").save()
    assert (syntax.value.name, syntax.value.lineno) == ("bad", 2)
    lacking = Template(name="lacking", source="[{{ nope }}]").save()
    with pytest.raises(UndefinedVariable, match="nope"):
        lacking.render()
    assert lacking.render(undefined="lenient") == "[]"


@pytest.mark.parametrize("name", ["", ".", "..", "a/", "a\0b"])
def test_template_names_that_cannot_be_sent(session: Session, name: str) -> None:
    """A name that would arrive as another one is refused."""
    with pytest.raises((PathError, ValidationError)):
        Template(name=name, source="x").save()


# What kvp.io has not


def test_what_kvpio_has_not_is_unsupported(session: Session) -> None:
    """Buckets, records, permissions and Kinto's accounts are Unsupported, and say why."""
    for act in (
        Record(id="x", title="x").save,
        lambda: Record.get("x"),
        lambda: Record.find().all(),
        Bucket(id="b").save,
        lambda: Bucket(id="b").kv,
        lambda: [*session.permissions()],
        Account(id="x", password="y").save,
        session.account().refresh,
    ):
        with pytest.raises(Unsupported, match=r"kvp\.io server"):
            act()


# Other servers, and bad networks


NO_ANSWERS = [
    says(200, b"<html>Please log in</html>", Content_Type="text/html"),
    says(200, {}),
    says(200, {"error": "quota"}),
    says(200, []),
    says(201, b""),
    says(204, b""),
    says(304, b""),
]


@pytest.mark.parametrize("answer", NO_ANSWERS)
@pytest.mark.parametrize(
    "act",
    [
        lambda session: session.kv.set("k", 1),
        lambda session: Template(name="t", source="x").save(force=True, session=session),
        lambda session: Template(name="t", source="x").delete(force=True, session=session),
        Template(name="t", source="x").save,
    ],
)
def test_writes_look_at_their_answers(act: Any, answer: Any) -> None:
    """A kvp.io server answers 200 and nothing to a write; everything else is a BadReply."""
    with (
        FaultyServer(answer) as server,
        kvp_session(server) as session,
        pytest.raises(BadReply, match="cannot"),
    ):
        act(session) if act.__name__ == "<lambda>" else act(session=session)


@pytest.mark.parametrize("answer", NO_ANSWERS)
@pytest.mark.parametrize(
    "act",
    [
        lambda kv: kv.set("k/a", 1),
        lambda kv: kv.set("k/l/-", 1),
        lambda kv: kv.delete("k", missing_ok=True),
        lambda kv: kv.pop("k/a"),
        lambda kv: kv.setdefault("k/b", 1),
    ],
)
def test_writes_after_a_read_look_at_their_answers(act: Any, answer: Any) -> None:
    """The same below a root key, and for deletions."""
    there = says(200, {"a": 1, "l": []})
    with (
        FaultyServer(lambda each: (there if each.command == "GET" else answer)(each)) as server,
        kvp_session(server) as session,
        pytest.raises(BadReply, match="cannot"),
    ):
        act(session.kv)


@pytest.mark.parametrize("status", [201, 204, 206, 304])
def test_reads_want_a_200(status: int) -> None:
    """Another status is no answer, and above all no missing key."""
    with FaultyServer(says(status, b"")) as server, kvp_session(server) as session:
        acts: list[Callable[[], Any]] = [
            lambda: session.kv.get("k", "DEFAULT"),
            lambda: list(session.kv),
            lambda: Template.get_or_none("t"),
            session.account,
        ]
        for act in acts:
            with pytest.raises(BadReply):
                act()


@pytest.mark.parametrize("names", [["a", 1], ["\ud800"], ["a\0b"], {"a": 1}, "a", None])
def test_lists_of_names_that_are_none(names: Any) -> None:
    """A list of keys or templates has texts that can be asked for."""
    with FaultyServer(says(200, names)) as server, kvp_session(server) as session:
        for act in (session.kv.keys, lambda: Template.find().all(), session.kv.items):
            with pytest.raises(BadReply):
                list(act())


@pytest.mark.parametrize(
    "figures",
    [{}, {"id": 5}, {"id": None}, {"id": "me", "reads": "many"}, {"id": "me", "email": 1}],
)
def test_an_account_of_another_shape(figures: Any) -> None:
    """Not an account called "None"."""
    with (
        FaultyServer(says(200, figures)) as server,
        kvp_session(server) as session,
        pytest.raises(BadReply),
    ):
        session.account()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '{"a": NaN}', "[" * 50_000])
def test_texts_that_only_python_takes_for_json(old_kv: KeyValues, text: str) -> None:
    """They are texts, and can be stored again."""
    old_kv["k"] = text
    assert old_kv["k"] == text
    old_kv["copy"] = old_kv["k"]


def kvp_session(server: FaultyServer) -> Session:
    """A session over kvp.io's protocol."""
    return Session("kvp+" + server.url.removesuffix("/v1"), auth=(KEY, ""), retry=FAST)


@pytest.fixture
def lossy(kv: KeyValues, kinto_url: str) -> Iterator[tuple[KeyValues, FaultyServer]]:
    """Key values through a proxy that loses answers."""
    kv["k"] = {"list": ["a", "b"]}
    with FaultyServer(upstream=kinto_url) as proxy:
        session = Session("kvp+" + proxy.url.removesuffix("/v1"), auth=(KEY, ""), retry=FAST)
        yield session.kv, proxy


@pytest.mark.parametrize(
    ("path", "value", "left"),
    [
        ("k", 1, 1),
        ("k/n", 1, {"list": ["a", "b"], "n": 1}),
    ],
)
def test_a_lost_answer_to_a_write(lossy: Any, path: str, value: Any, left: Any) -> None:
    """A write that does no harm twice is sent again."""
    kv, proxy = lossy
    proxy.answers.extend([answer_lost] if path == "k" else [passed_on, answer_lost])
    kv[path] = value
    assert kv["k"] == left


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (lambda kv: kv.set("k/list/-", "c"), ["a", "b", "c"]),
        (lambda kv: kv.set("k/list/-/x", "c"), ["a", "b", {"x": "c"}]),
        (lambda kv: kv.set("k/list/0", "c"), ["c", "b"]),
        (lambda kv: kv.delete("k/list/0"), ["b"]),
    ],
)
def test_what_must_not_happen_twice_is_not_sent_twice(lossy: Any, act: Any, left: Any) -> None:
    """When the answer to an append or a removal is lost, that is an error, not a second one."""
    kv, proxy = lossy
    proxy.answers.extend([passed_on, answer_lost])
    with pytest.raises(ConnectFailed):
        act(kv)
    assert kv["k/list"] == left


@pytest.mark.parametrize("path", ["new/-", "new/a/-", "k/-", "k/list/0/-", "k/list/-/-"])
def test_an_append_to_no_list(either: KeyValues, path: str) -> None:
    """It is refused: it would make a member `-`, which the next append would replace."""
    either["k"] = before = {"list": [{}]}
    for write in (either.set, either.setdefault):
        with pytest.raises(PathError, match="append"):
            write(path, 1)
    assert either.get_many(["k", "new"]) == {"k": before}


@pytest.mark.parametrize("answer", [says(200, b"<html>"), says(200, {"a": 1}), says(200, [1])])
def test_a_server_of_another_kind(answer: Any) -> None:
    """A list of keys that is none is a BadReply, not a wrong mapping."""
    with FaultyServer(answer) as server:
        session = Session("kvp+" + server.url.removesuffix("/v1"), auth=(KEY, ""))
        with pytest.raises(BadReply, match="Is the server URL right"):
            list(session.kv)


def test_an_answer_in_no_text(old: str) -> None:
    """Bytes that are no UTF-8 are a BadReply."""
    with FaultyServer(says(200, b"\xff\xfe")) as server:
        session = Session("kvp+" + server.url.removesuffix("/v1"), auth=(KEY, ""))
        with pytest.raises(BadReply):
            session.kv["k"]


def test_the_key_is_basic_auth_with_an_empty_password(url: str) -> None:
    """The API key goes as the user name of HTTP Basic, to the path of the version."""
    wire = Wire(KEY)
    wire._basic.password = ""
    with Session(url, auth=wire) as session:
        session.kv["a b/c"] = 1
    assert wire.methods == ["GET", "GET", "POST"]
    assert str(wire.last.url).endswith("/v1/bucket/a%20b/c")
    assert wire.last.headers["Authorization"] == "Basic a2V5LTE6"
    assert wire.body == 1
