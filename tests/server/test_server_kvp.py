"""kvp.io's REST API, served by the Kinto plugin to kvp.io's own unmodified Python bindings."""

import json
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import quote

import kvpio
import pytest
import requests
from test_rendering_isolation import all_places_taken

from kinto_orm.kv import keypath
from kinto_orm.server import open_local, open_memory, open_sqlite, serve

with warnings.catch_warnings():  # of what Kinto's packages import
    warnings.simplefilter("ignore", DeprecationWarning)
    import kinto
    from pyramid.exceptions import ConfigurationError

KEY, OTHER_KEY, READER_KEY = "key-1", "key-2", "key-3"
SETTINGS = {
    "kinto.includes": "kinto_orm.server.kvp",
    "kinto.kvp_api_keys": f"{KEY}\n  {OTHER_KEY} {READER_KEY}",
}
DOCUMENTED = {
    "foo": 123,
    "bar": True,
    "baz": {"boo": 321, "far": False, "faz": [1, 2, 3]},
}
OK = (200, "")


@pytest.fixture(scope="module")
def closing():
    """Close what the module opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def embedded(closing, tmp_path_factory) -> Callable[[str], object]:
    """Give the embedded server of a backend, opened at its first use."""
    opened: dict[str, tuple[object, str]] = {}

    def give(backend):
        if backend not in opened:
            directory = tmp_path_factory.mktemp("kvp")
            if backend == "memory":
                server = open_memory(settings=SETTINGS)
            elif backend == "sqlite":
                path = directory / "app.db"
                server = open_sqlite(path, settings=SETTINGS, durable=False)
            else:
                server = open_local(directory, settings=SETTINGS, durable=False)
            closing.enter_context(server)
            opened[backend] = server, closing.enter_context(serve(server, threads=8)).url
        return opened[backend]

    return give


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def backend(request):
    """Name the backend."""
    return request.param


@pytest.fixture
def url(embedded, backend, monkeypatch):
    """Give the URL of an empty server, and point the bindings at it."""
    server, url = embedded(backend)
    server.flush()
    monkeypatch.setattr(kvpio, "api_base", url.removesuffix("/v1"))
    monkeypatch.setattr(kvpio, "api_key", KEY)
    return url


@pytest.fixture
def memory_url(embedded, monkeypatch):
    """Give the URL of an empty memory server: for what no backend changes."""
    server, url = embedded("memory")
    server.flush()
    monkeypatch.setattr(kvpio, "api_base", url.removesuffix("/v1"))
    monkeypatch.setattr(kvpio, "api_key", KEY)
    return url


def call(url, method, path, *, auth=(KEY, ""), **options):
    """Send one request, its path as it is."""
    return requests.request(method, f"{url}/{path}", auth=auth, timeout=30, **options)


def parsed(answer):
    """Parse an answer of the bindings that must be 200 with JSON."""
    status, text = answer
    assert status == 200
    return json.loads(text)


def test_bindings_bucket(url):
    """Every bucket operation of the bindings' documentation does what it says."""
    bucket = kvpio.Bucket()
    assert parsed(bucket.list()) == []
    assert bucket.set("my_key", DOCUMENTED) == OK
    assert parsed(bucket.get("my_key")) == DOCUMENTED
    assert parsed(bucket.get("my_key/baz/faz")) == [1, 2, 3]
    assert bucket.get("my_key/baz/far") == (200, "false")
    assert parsed(bucket.list()) == ["my_key"]
    assert bucket.delete("my_key/baz") == OK
    assert parsed(bucket.get("my_key")) == {"foo": 123, "bar": True}
    assert bucket.delete("my_key") == OK
    assert parsed(bucket.list()) == []


def test_bindings_templates(url):
    """Every template operation of the bindings' documentation does what it says."""
    templates = kvpio.Templates()
    assert kvpio.Bucket().set("foo", {"bar": {"baz": 123}}) == OK
    assert parsed(templates.list()) == []
    assert templates.set("foo", "baz is equal to {{ foo.bar.baz }}") == OK
    assert templates.get("foo") == (200, "baz is equal to 123")
    assert templates.get("foo", raw=True) == (200, "baz is equal to {{ foo.bar.baz }}")
    override = {"foo": {"bar": {"baz": 321}}}
    assert templates.get("foo", data=override) == (200, "baz is equal to 321")
    assert parsed(templates.list()) == ["foo"]
    assert templates.delete("foo") == OK
    assert templates.get("foo") == OK
    assert parsed(templates.list()) == []


def test_bindings_account(url):
    """An account shows an id that is not the key, its reads and the size of its data."""
    kvpio.Bucket().set("foo", "bar")
    kvpio.Bucket().get("foo")
    kvpio.Templates().set("t", "{{ foo }}")
    account = parsed(kvpio.Account().get())
    assert list(account) == ["id", "email", "reads", "size"]
    assert (account["email"], account["reads"], account["size"]) == (None, 1, 5 + 11)
    assert KEY not in json.dumps(account)


def test_strings_come_back_bare(url):
    """A string is sent as it is, any other value as JSON, null and None as `null`."""
    bucket = kvpio.Bucket()
    values = ["bar", "", "é ☃", "123", 123, 1.5, True, None, [], {}]
    shown = ["bar", "", "é ☃", "123", "123", "1.5", "true", "null", "[]", "{}"]
    for value, text in zip(values, shown, strict=True):
        assert bucket.set("foo", value) == OK
        assert bucket.get("foo") == (200, text)


def test_missing_is_empty(url):
    """What is not there reads as 200 with an empty body, and may be deleted."""
    bucket = kvpio.Bucket()
    assert bucket.get("nope") == OK
    bucket.set("foo", {"list": [1]})
    for path in ["foo/nope", "foo/list/2", "foo/list/0", "foo/list/1/deeper", "nope/at/all"]:
        assert bucket.get(path) == OK
        assert bucket.delete(path) == OK
    assert bucket.delete("nope") == OK
    assert parsed(bucket.get("foo")) == {"list": [1]}


def test_indices_start_at_one(url):
    """The first item is 1 in a path, and 0 inside a template."""
    bucket = kvpio.Bucket()
    bucket.set("foo", [1, {"20": ["a", "b"]}])
    assert bucket.get("foo/1") == (200, "1")
    assert bucket.get("foo/2/20/1") == (200, "a")
    kvpio.Templates().set("t", '{{ foo[0] }}{{ foo[1]["20"][0] }}')
    assert kvpio.Templates().get("t") == (200, "1a")
    assert bucket.set("foo/2/20/1", "A") == OK
    assert bucket.set("foo/-", "last") == OK
    assert bucket.delete("foo/1") == OK
    assert parsed(bucket.get("foo")) == [{"20": ["A", "b"]}, "last"]


def test_nested_set(url):
    """A nested set makes missing parents as objects, also below a key that is not there."""
    bucket = kvpio.Bucket()
    assert bucket.set("new/a/1", None) == OK
    assert parsed(bucket.get("new")) == {"a": {"1": None}}
    assert bucket.set("new/a/2/deep", []) == OK
    assert bucket.set("new/a~b", "tilde") == OK
    assert parsed(bucket.get("new")) == {"a": {"1": None, "2": {"deep": []}}, "a~b": "tilde"}


@pytest.mark.parametrize("key", ["nginx.conf", "a b", "été", "_x", "x--", "a:b", "a,b", "'\"", "~"])
def test_keys_that_are_no_kinto_ids(memory_url, key):
    """Any key without a slash is listed and read as it was written."""
    assert kvpio.Bucket().set(key, {"x": key}) == OK
    assert kvpio.Bucket().get(f"{key}/x") == (200, key)
    assert parsed(kvpio.Bucket().list()) == [key]
    kvpio.Templates().set(key, "text")
    assert parsed(kvpio.Templates().list()) == [key]
    assert kvpio.Bucket().delete(key) == OK
    assert parsed(kvpio.Bucket().list()) == []


@pytest.mark.filterwarnings("ignore:Non-string usernames")
@pytest.mark.parametrize("key", ["wrong", "", None, "key", "KEY-1"])
def test_unknown_key_is_404(memory_url, monkeypatch, key):
    """Nobody but the known keys gets more than 404, whatever is asked."""
    monkeypatch.setattr(kvpio, "api_key", key)
    bucket, templates = kvpio.Bucket(), kvpio.Templates()
    answers = [kvpio.Account().get(), bucket.list(), bucket.set("x", 1), bucket.get("x")]
    answers += [bucket.delete("x"), templates.list(), templates.set("x", "t"), templates.get("x")]
    assert {status for status, _ in answers} == {404}
    assert {json.loads(text)["errno"] for _, text in answers} == {110}


def test_a_key_with_a_password_is_404(memory_url):
    """The key comes with an empty password: with another one it is another user."""
    assert call(memory_url, "GET", "account/", auth=(KEY, "x")).status_code == 404
    assert call(memory_url, "GET", "account/", auth=None).status_code == 404


def test_accounts_are_apart(url, monkeypatch):
    """Each key has data and counts of its own."""
    kvpio.Bucket().set("foo", 1)
    kvpio.Bucket().get("foo")
    monkeypatch.setattr(kvpio, "api_key", OTHER_KEY)
    assert parsed(kvpio.Bucket().list()) == []
    account = parsed(kvpio.Account().get())
    assert (account["reads"], account["size"]) == (1, 0)


def test_same_data_over_kinto(url):
    """The key is the same user on Kinto's API, where keys and templates are plain records."""
    kvpio.Bucket().set("nginx.conf", {"port": 80})
    kvpio.Bucket().set("nginx.conf/port", 81)
    kvpio.Templates().set("a/b", "{{ x }}")
    records = f"{url}/buckets/default/collections"
    stored = requests.get(
        f"{records}/kv/records/{keypath.record_id('nginx.conf')}", auth=(KEY, ""), timeout=30
    ).json()["data"]
    assert (stored["key"], stored["value"]) == ("nginx.conf", {"port": 81})
    stored = requests.get(
        f"{records}/templates/records/{keypath.record_id('a/b')}", auth=(KEY, ""), timeout=30
    ).json()["data"]
    assert (stored["name"], stored["source"]) == ("a/b", "{{ x }}")
    history = call(url, "GET", "buckets/default/history?resource_name=record").json()["data"]
    assert [entry["action"] for entry in history] == ["create", "update", "create"]
    user = call(url, "GET", "").json()["user"]
    assert user["id"] == parsed(kvpio.Account().get())["id"]


def test_what_kinto_wrote_is_read(url):
    """Records that came over Kinto's API are keys here; what is no key is left alone."""
    path = "buckets/default/collections/kv/records"
    for name, data in {
        "foo": {"key": "foo", "value": {"a": [1]}},
        "bare": {"value": 2},
        "other": {"title": "no value"},
        "x--zz-": {"value": 3},
    }.items():
        assert call(url, "PUT", f"{path}/{name}", json={"data": data}).status_code == 201
    assert parsed(kvpio.Bucket().list()) == ["bare", "foo", "other"]
    assert kvpio.Bucket().get("foo/a/1") == (200, "1")
    assert kvpio.Bucket().get("bare") == (200, "2")
    assert kvpio.Bucket().get("other") == OK
    assert kvpio.Bucket().delete("other/x") == OK
    assert kvpio.Bucket().set("other/x", 1) == OK
    assert parsed(kvpio.Bucket().get("other")) == {"x": 1}
    assert parsed(kvpio.Account().get())["size"] == len('{"a":[1]}') + 1 + len('{"x":1}')


def test_configured_bucket_and_permissions(monkeypatch):
    """With a bucket of its own the keys share data as far as Kinto's permissions let them."""
    with (
        open_memory(settings={**SETTINGS, "kinto.kvp_bucket": "shared"}) as server,
        serve(server) as loopback,
    ):
        monkeypatch.setattr(kvpio, "api_base", loopback.url.removesuffix("/v1"))
        monkeypatch.setattr(kvpio, "api_key", KEY)
        assert kvpio.Bucket().set("foo", {"a": 1}) == OK
        reader = call(loopback.url, "GET", "", auth=(READER_KEY, "")).json()["user"]["id"]
        grant = {"permissions": {"read": [reader]}}
        assert call(loopback.url, "PATCH", "buckets/shared", json=grant).status_code == 200
        monkeypatch.setattr(kvpio, "api_key", READER_KEY)
        assert kvpio.Bucket().get("foo/a") == (200, "1")
        assert kvpio.Bucket().set("foo/a", 2)[0] == 403
        assert kvpio.Bucket().delete("foo")[0] == 403
        assert kvpio.Templates().set("t", "x")[0] == 403
        monkeypatch.setattr(kvpio, "api_key", OTHER_KEY)
        assert kvpio.Bucket().get("foo")[0] == 403
        assert kvpio.Bucket().list()[0] == 403


def test_users_of_the_accounts_plugin(memory_url):
    """A user of the accounts plugin comes with name and password, and shows its address."""
    new = {"data": {"id": "ann@example.org", "password": "secret"}}
    assert requests.post(f"{memory_url}/accounts", json=new, timeout=30).status_code == 201
    auth = ("ann@example.org", "secret")
    assert call(memory_url, "POST", "bucket/foo", auth=auth, json=[1]).status_code == 200
    account = call(memory_url, "GET", "account/", auth=auth).json()
    assert account["id"] == "account:ann@example.org"
    assert (account["email"], account["size"]) == ("ann@example.org", 3)
    assert call(memory_url, "GET", "account/", auth=(auth[0], "no")).status_code == 404


def test_capability(memory_url):
    """The server's root page says that the surface is there, and never the keys."""
    root = call(memory_url, "GET", "").json()
    assert set(root["capabilities"]["kvp"]) == {"description", "url"}
    assert KEY not in json.dumps(root)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "bucket/foo/a/b", "1", 400, "'a' holds a number"),
        ("POST", "bucket/foo/list/9", "1", 400, "'9'"),
        ("POST", "bucket/foo/list/x", "1", 400, "'x'"),
        ("POST", "bucket/a%2F..%2Fb", "1", 400, "'..'"),
        ("POST", "bucket/a//b", "1", 400, "empty"),
        ("GET", "bucket/a%2F.%2Fb", None, 400, "'.'"),
        ("POST", "bucket/x%00", "1", 400, "NUL"),
        ("GET", "bucket/%ff", None, 400, "Invalid URL path"),
        ("POST", "bucket/" + "k" * 2001, "1", 400, "too long"),
        ("POST", "bucket/x", "{", 400, "not valid JSON"),
        ("POST", "bucket/x", "[NaN]", 400, "NaN is no number"),
        ("POST", "bucket/x", '{"a": -Infinity}', 400, "-Infinity is no number"),
        ("POST", "bucket/x", "[1, 1e400]", 400, "holds 1e400"),
        ("POST", "bucket/foo/a", "18446744073709551616", 400, "18446744073709551616, an integer"),
        ("POST", "bucket/x", '{"a": [-9223372036854775809]}', 400, "more than 64 bits"),
        ("POST", "bucket/x", "9" * 5000, 400, "more than 64 bits"),
        ("POST", "bucket/x", '[{"a": 1, "b": 2, "a": 3}]', 400, "the key 'a' twice"),
        ("POST", "bucket/x", '"\\ud800"', 400, "surrogate"),
        ("POST", "bucket/x", '{"\\udfff": 1}', 400, "surrogate"),
        ("POST", "bucket/x", b'"\xff"', 400, "byte 1"),
        ("POST", "bucket/x", '"text"'.encode("utf-16"), 400, "not valid JSON in UTF-8"),
        ("POST", "bucket/x", b"\xef\xbb\xbf1", 400, "not valid JSON"),
        ("POST", "bucket/x", " ", 400, "not valid JSON"),
        ("POST", "bucket/x", "1 2", 400, "line 1, column 3"),
        ("DELETE", "bucket/foo/", None, 400, "empty"),
        ("POST", "bucket/foo/", "1", 400, "empty"),
        ("GET", "bucket//foo", None, 400, "empty"),
        ("POST", "bucket/x", '["\\u0000"]', 400, "NUL"),
        ("POST", "bucket/x", "[" * 100_000, 400, "deeper than 200 levels"),
        ("POST", "bucket/x", "[" * 500 + "]" * 500, 400, "deeper than 200 levels"),
        ("POST", "bucket/x", '{"a":' * 201 + "1" + "}" * 201, 400, "deeper than 200 levels"),
        ("POST", "bucket/foo/x", "[" * 201 + "]" * 201, 400, "deeper than 200 levels"),
        ("POST", "bucket/x" + "/a" * 500, "1", 400, "501 segments"),
        ("GET", "bucket/x" + "/a" * 500, None, 400, "501 segments"),
        ("DELETE", "bucket/x" + "/a" * 500, None, 400, "501 segments"),
        ("POST", "bucket/", "1", 405, "not allowed"),
        ("DELETE", "templates/", None, 405, "not allowed"),
        ("PUT", "bucket/foo", "1", 405, "not allowed"),
        ("POST", "account/", "1", 405, "not allowed"),
        ("GET", "account/x/", None, 404, "nothing below"),
        ("GET", "account//", None, 404, "nothing below"),
        ("POST", "templates/x", "[1]", 400, "JSON string"),
        ("POST", "templates/x", None, 400, "JSON string"),
        ("POST", "templates/x", '"a\\n{% if %}"', 400, "line 2"),
        ("GET", "templates/t", "[1]", 400, "object keyed by root key"),
        ("GET", "templates/t", "{", 400, "not valid JSON"),
        ("GET", "templates/t?undefined=maybe", None, 400, "strict or lenient"),
    ],
)
def test_bad_input(memory_url, method, path, body, status, says):
    """A bad request ends as an error in Kinto's format that says why, and changes nothing."""
    kvpio.Bucket().set("foo", {"a": 1, "list": [1]})
    kvpio.Templates().set("t", "text")
    answer = call(memory_url, method, path, data=body)
    assert (answer.status_code, answer.json()["code"]) == (status, status)
    assert says in answer.json()["message"]
    assert parsed(kvpio.Bucket().list()) == ["foo"]
    assert parsed(kvpio.Templates().list()) == ["t"]
    assert parsed(kvpio.Bucket().get("foo")) == {"a": 1, "list": [1]}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "ODD"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("bucket/foo", "GET, POST, DELETE"),
        ("bucket/", "GET"),
        ("templates/t", "GET, POST, DELETE"),
        ("templates", "GET"),
        ("account/", "GET"),
    ],
)
def test_other_methods_are_told_which_ones_there_are(memory_url, method, path, allowed):
    """A method that kvp.io has not is 405, with those that it has."""
    kvpio.Bucket().set("foo", 1)
    answer = call(memory_url, method, path, data="2")
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    if method != "HEAD":
        assert answer.json()["errno"] == 115
    assert kvpio.Bucket().get("foo") == (200, "1")


def test_a_slash_at_the_end_is_part_of_a_name(url):
    """`t/` is another template than `t`, and no way to delete that one."""
    templates = f"{url}/templates"
    for name in ("t", "t/", "/", "t//"):
        assert requests.post(f"{templates}/{quote(name, safe='')}", json=name, auth=(KEY, "")).ok
    assert parsed(kvpio.Templates().list()) == ["/", "t", "t/", "t//"]
    assert call(url, "DELETE", "templates/t/").status_code == 200
    assert parsed(kvpio.Templates().list()) == ["/", "t", "t//"]


def test_the_largest_integers_are_kept(url):
    """What has 64 bits comes back as it is."""
    for number in (2**64 - 1, 2**63, -(2**63), 0, 2**53 + 1):
        assert kvpio.Bucket().set("n", [number]) == OK
        assert kvpio.Bucket().get("n/1") == (200, str(number))


def test_deep_values_below_the_limits(url):
    """What is not refused works: 200 levels below a path of a hundred segments."""
    path = "bucket/x" + "/a" * 99
    text = "[" * 200 + "]" * 200
    for _ in range(2):
        assert call(url, "POST", path, data=text).status_code == 200
    assert call(url, "GET", path).text == text
    assert call(url, "DELETE", path).status_code == 200


def test_large_floats(url):
    """They come back as they were written, also where PostgreSQL makes integers of them."""
    bucket, templates = kvpio.Bucket(), kvpio.Templates()
    assert bucket.set("k", [1e300, {"a": -1e20}, 2]) == OK
    assert bucket.get("k") == (200, '[1e+300, {"a": -1e+20}, 2]')
    assert bucket.set("k", parsed(bucket.get("k"))) == OK
    assert templates.set("t", "{{ k[0] }} {{ values['k'][1].a }}") == OK
    assert templates.get("t") == (200, "1e+300 -1e+20")
    for _ in range(2):
        assert bucket.delete("k/1") == OK
    assert bucket.get("k") == (200, "[2]")


def test_half_of_a_character_is_400(memory_url):
    """A template may not render to what has no UTF-8."""
    assert kvpio.Templates().set("t", r"{{ '\ud800' }}") == OK
    answer = call(memory_url, "GET", "templates/t")
    assert answer.status_code == 400
    assert answer.json()["details"] == {"type": "TemplateError", "name": "t", "lineno": None}


def test_a_backslash_is_not_a_nul(memory_url):
    """A text that only looks like an escaped NUL is stored."""
    assert kvpio.Bucket().set("foo", "\\u0000") == OK
    assert kvpio.Bucket().get("foo") == (200, "\\u0000")


@pytest.mark.parametrize("path", ["bucket", "bucket/", "templates", "account", "account/"])
def test_trailing_slash(memory_url, path):
    """A path answers with and without the slash at its end."""
    assert call(memory_url, "GET", path, allow_redirects=False).status_code == 200


def test_question_mark_and_fragment(memory_url):
    """The bindings do not quote: `?` and `#` cut the key, quoted they are part of it."""
    kvpio.Bucket().set("a?b", 1)
    kvpio.Bucket().set("c#d", 2)
    call(memory_url, "POST", "bucket/e%3Ff%23g", json=3)
    assert parsed(kvpio.Bucket().list()) == ["a", "c", "e?f#g"]


def test_quoted_slash_is_a_separator(memory_url):
    """`%2F` arrives as a slash: it separates segments of a path, and is part of a name."""
    call(memory_url, "POST", "bucket/a%2Fb", json=1)
    call(memory_url, "POST", "templates/a%2Fb", json="x")
    assert parsed(kvpio.Bucket().get("a")) == {"b": 1}
    assert parsed(kvpio.Templates().list()) == ["a/b"]


def test_client_preconditions_are_not_kintos(memory_url):
    """Headers that mean something to Kinto's records mean nothing here."""
    kvpio.Bucket().set("foo", {"a": 1})
    headers = {"If-None-Match": "*", "If-Match": '"1"', "Response-Behavior": "light"}
    answer = call(memory_url, "POST", "bucket/foo/a", json=2, headers=headers)
    assert answer.status_code == 200
    answer = call(memory_url, "GET", "bucket/foo/a", headers={"If-None-Match": '"999999999999999"'})
    assert (answer.status_code, answer.text) == (200, "2")


def test_not_in_a_batch(memory_url):
    """Within Kinto's batch the endpoints refuse, and say so."""
    body = {"requests": [{"method": "GET", "path": "/bucket/foo"}]}
    answer = call(memory_url, "POST", "batch", json=body).json()["responses"][0]
    assert (answer["status"], "batch" in answer["body"]["message"]) == (400, True)


def test_five_megabytes(url):
    """A value of 5 MB is stored, changed inside, read and counted."""
    value = {"lines": ["x" * 1000] * 5000}
    assert kvpio.Bucket().set("big", value) == OK
    assert kvpio.Bucket().set("big/note", "n") == OK
    assert parsed(kvpio.Bucket().get("big")) == {**value, "note": "n"}
    assert parsed(kvpio.Account().get())["size"] > 5_000_000


def test_many_keys(url):
    """Lists, sizes and a template that names everything go over all pages."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: kvpio.Bucket().set(f"k{i:03}", i), range(120)))
    assert parsed(kvpio.Bucket().list()) == [f"k{i:03}" for i in range(120)]
    assert parsed(kvpio.Account().get())["size"] == 10 + 2 * 90 + 3 * 20
    kvpio.Templates().set("t", "{{ k000 + k119 }}")
    assert kvpio.Templates().get("t") == (200, "119")


def test_writers_lose_nothing(url, one_in):
    """8 writers x 40 nested writes on disjoint paths of one key: 320 of 320 are kept."""
    writes = range(40 // one_in)

    def write(i):
        with requests.Session() as session:
            session.auth = (KEY, "")
            return [
                session.post(f"{url}/bucket/shared/w{i}/n{j}", json=j, timeout=60).status_code
                for j in writes
            ]

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for done in pool.map(write, range(8)) for status in done]
    assert set(statuses) == {200}
    expected = {f"w{i}": {f"n{j}": j for j in writes} for i in range(8)}
    assert parsed(kvpio.Bucket().get("shared")) == expected


def test_appends_and_kinto_writers(url):
    """Appends beside writers on Kinto's own API are all kept, once each.

    A writer that meets one of Kinto's at the very end of its request is turned away, and sends
    again.
    """
    kvpio.Bucket().set("list", [])
    path = "buckets/default/collections/kv/records/other"

    def append(i):
        while (answer := kvpio.Bucket().set("list/-", i)) != OK:
            assert answer[0] in (409, 503)
        other = call(url, "PUT", path, json={"data": {"value": i}})
        assert other.status_code in (200, 201, 409, 503)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(append, range(30)))
    assert sorted(parsed(kvpio.Bucket().get("list"))) == list(range(30))


def test_every_read_is_counted(url):
    """Reads count values, lists and templates that were given, by however many threads."""
    kvpio.Bucket().set("foo", 1)
    kvpio.Bucket().get("foo/../..")  # the client makes `bucket/` and beyond of it: no read
    before = parsed(kvpio.Account().get())["reads"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: kvpio.Bucket().get("foo"), range(60)))
    kvpio.Bucket().list()
    kvpio.Templates().get("nope")
    assert parsed(kvpio.Account().get())["reads"] == before + 62


def test_templates_read_templates_and_only_what_they_name(url):
    """A template includes others, and sees the bucket's values, overridden by root key."""
    kvpio.Bucket().set("site", {"name": "a", "port": 1})
    kvpio.Bucket().set("my-key", "dash")
    kvpio.Templates().set("base", "[{% block body %}{% endblock %}]")
    kvpio.Templates().set("page", "{% extends 'base' %}{% block body %}{{ site }}{% endblock %}")
    assert kvpio.Templates().get("page", data={"site": "B"}) == (200, "[B]")
    kvpio.Templates().set("part", "{{ site.name }}\n")
    kvpio.Templates().set("whole", "{% include 'part' %}")
    assert kvpio.Templates().get("whole") == (200, "a\n")
    # A root key is overridden as a whole.
    kvpio.Templates().set("port", "{{ site.port }}")
    assert kvpio.Templates().get("port", data={"site": {"name": "b"}})[0] == 400


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("True", "{{ foo }}"), ("true", "{{ foo }}"), ("False", "bar"), ("FALSE", "bar")],
)
def test_raw_in_any_case(memory_url, raw, expected):
    """`raw` is true or false in any case."""
    kvpio.Bucket().set("foo", "bar")
    kvpio.Templates().set("t", "{{ foo }}")
    assert call(memory_url, "GET", f"templates/t?raw={raw}").text == expected


def test_undefined_variables(memory_url):
    """A value that is not there is an error that names it; on request it is nothing."""
    kvpio.Templates().set("t", "a{{ nothing }}b")
    answer = call(memory_url, "GET", "templates/t")
    assert answer.status_code == 400
    assert "nothing" in answer.json()["message"]
    assert answer.json()["details"]["type"] == "UndefinedVariable"
    assert call(memory_url, "GET", "templates/t?undefined=lenient").text == "ab"


def test_syntax_error_names_the_line(memory_url):
    """A template that does not parse is refused with its line, and nothing is stored."""
    status, text = kvpio.Templates().set("t", "one\ntwo {{ three")
    assert status == 400
    assert json.loads(text)["details"] == {
        "type": "TemplateSyntaxError",
        "name": "t",
        "lineno": 2,
    }
    assert parsed(kvpio.Templates().list()) == []


@pytest.mark.parametrize(
    "source",
    [
        "{{ 9**(9**9) }}",
        "{{ 'a'*10**10 }}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% include 'hostile' %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ '%999999999d'|format(1) }}",
    ],
)
def test_hostile_templates(memory_url, source):
    """A hostile template ends as an error, and the server answers the next request."""
    if kvpio.Templates().set("hostile", source)[0] == 200:
        status, text = kvpio.Templates().get("hostile")
        assert status == 400, text
    kvpio.Bucket().set("foo", "alive")
    assert kvpio.Bucket().get("foo") == (200, "alive")


def test_renders_beside_each_other(url):
    """Renders by several threads, among them one that is stopped, do not disturb each other."""
    kvpio.Bucket().set("foo", "bar")
    kvpio.Templates().set("good", "{{ foo }}")
    kvpio.Templates().set("bad", "{% for i in range(99999) %}{{ i }}{% endfor %}" * 40)
    with ThreadPoolExecutor(4) as pool:
        good = [pool.submit(kvpio.Templates().get, "good") for _ in range(12)]
        bad = pool.submit(kvpio.Templates().get, "bad")
    assert {job.result() for job in good} == {(200, "bar")}
    assert bad.result()[0] == 400


@pytest.fixture
def impatient_url(monkeypatch):
    """Give the URL of a server on which no render waits for long."""
    settings = SETTINGS | {"kinto.kvp_patience": "2"}
    with open_memory(settings=settings) as server, serve(server, threads=2) as served:
        monkeypatch.setattr(kvpio, "api_base", served.url.removesuffix("/v1"))
        monkeypatch.setattr(kvpio, "api_key", KEY)
        yield served.url


def test_too_many_renders_are_429(impatient_url):
    """A render that finds no process free is to be sent again; nothing is said of its template."""
    kvpio.Templates().set("t", "{{ 1 }}")
    with all_places_taken():
        answer = call(impatient_url, "GET", "templates/t")
    assert (answer.status_code, answer.json()["errno"]) == (429, 117)
    assert answer.json()["details"]["type"] == "RenderBusy"
    assert int(answer.headers["Retry-After"]) > 0
    assert kvpio.Templates().get("t") == (200, "1")


BASE = {
    "userid_hmac_secret": "s",
    "multiauth.policies": "basicauth",
    "multiauth.policy.account.use": "kinto.plugins.accounts.AccountsPolicy",
}


@pytest.mark.filterwarnings("ignore:HTTPS is not enabled")
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kvp_api_keys": KEY, "includes": "kinto_orm.server.kvp"}, "default_bucket"),
        (
            {"includes": "kinto_orm.server.kvp kinto.plugins.default_bucket"},
            "default_bucket before it",
        ),
        ({"kvp_api_keys": "a:b", "kvp_bucket": "b"}, "colon"),
        ({"kvp_api_keys": "1.5", "kvp_bucket": "b"}, "JSON"),
        ({"kvp_undefined": "maybe", "kvp_bucket": "b"}, "strict or lenient"),
        ({"kvp_patience": "long", "kvp_bucket": "b"}, "number of seconds"),
        ({"kvp_patience": "0", "kvp_bucket": "b"}, "number of seconds"),
        ({"kvp_api_keys": KEY, "kvp_bucket": "b", "multiauth.policies": "account"}, "basicauth"),
    ],
)
def test_wrong_settings_stop_the_server(settings, says):
    """A Kinto whose settings cannot work does not start, and says why."""
    given = {**BASE, "includes": "kinto_orm.server.kvp", **settings}
    with pytest.raises(ConfigurationError, match=says):
        kinto.main({}, **{f"kinto.{name}": value for name, value in given.items()})


def test_all_threads_end(embedded):
    """A write that is refused gives its turn to the next one."""
    _, url = embedded("memory")
    call(url, "POST", "bucket/scalar", json=1)
    threads = [
        threading.Thread(target=call, args=(url, "POST", "bucket/scalar/x"), kwargs={"json": 1})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
