"""Key values on a Kinto server: a mapping by key path, and writers who lose nothing."""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from requests import PreparedRequest
from requests.auth import HTTPBasicAuth

from conftest import Backend, Wire
from kinto_orm import (
    Bucket,
    Collection,
    Conflict,
    ConnectFailed,
    Everyone,
    Forbidden,
    InvalidData,
    KeyNotFound,
    KeyValues,
    NotFound,
    PathError,
    Record,
    Retry,
    Session,
    Unauthorized,
)
from kinto_orm.kv import keypath
from kinto_orm.server import open_memory, serve

DOCUMENTED = {"foo": 123, "bar": True, "baz": {"boo": 321, "far": False, "faz": [1, 2, 3]}}
ODD_KEYS = [
    "nginx.conf",
    "a b",
    "été ☃",
    "_x",
    "-",
    "x--",
    "x--a-2eb",
    "a:b",
    "a,b",
    "'\"\\",
    "~0~1",
    "a?b#c",
    "%2F",
    "a+b&c=d",
    "0",
    "null",
    "data",
    "A",
    "k" * 600,
]
FAST = Retry(backoff_factor=0.001)

any_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    # Eighths: the server's parser of floats is fast, and not exact.
    | st.integers(-1000, 1000).map(lambda number: number / 8)
    | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)


class Point(NamedTuple):
    """A tuple that JSON writes as a list."""

    x: Any
    y: Any


class Colour(StrEnum):
    """Texts."""

    RED = "red"
    AMBER = "1"


class Level(IntEnum):
    """Numbers."""

    LOW = 1
    HIGH = 2**40


class Text(str):
    """A text of another class."""


class Whole(int):
    """A number of another class."""


class Fraction(float):
    """A number of another class."""


class Items(list[Any]):
    """A list of another class."""


written_otherwise = st.recursive(
    st.sampled_from([Colour.RED, Colour.AMBER, Level.LOW, Level.HIGH])
    | any_text.map(Text)
    | st.integers(-1000, 1000).map(Whole)
    | st.integers(-1000, 1000).map(lambda number: Fraction(number / 8))
    | st.just("plain")
    | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(Items)
        | st.builds(Point, inner, inner)
        | st.dictionaries(any_text.map(Text), inner, max_size=3).map(OrderedDict)
        | st.dictionaries(st.sampled_from(list(Colour)), inner, max_size=2)
        | st.dictionaries(any_text, inner, max_size=3).map(lambda items: defaultdict(list, items))
    ),
    max_leaves=8,
)


@pytest.fixture
def kv(session: Session) -> KeyValues:
    """The key values of a fresh bucket."""
    return session.kv


# A mapping


def as_json(value: object) -> Any:
    """What JSON makes of a value."""
    return json.loads(json.dumps(value))


@given(value=written_otherwise)
@example(value=(1, 2))
@example(value=Point((1, Colour.RED), ()))
def test_values_that_json_writes_otherwise(session: Session, value: Any) -> None:
    """A tuple is stored as a list, an enum as what it is: every call takes it for what it sent."""
    kv, wanted = session.kv, as_json(value)
    kv.clear()
    kv.update({"whole": value, "list": [], "other": {}})
    kv["list/-"] = value
    kv["list/0"] = value
    kv["list/-"] = value
    kv["other/a/b"] = value
    kv["new/a"] = value
    found = [kv.setdefault("fresh", value), kv.setdefault("other/c", value)]
    assert [plain(each) for each in found] == [plain(wanted)] * 2
    assert kv.setdefault("whole", (value,)) == wanted
    assert dict(kv.items()) == {
        "whole": wanted,
        "list": [wanted, wanted],
        "other": {"a": {"b": wanted}, "c": wanted},
        "new": {"a": wanted},
        "fresh": wanted,
    }
    assert kv.pop("list/1", (1, 2)) == wanted
    assert kv.pop("nothing", (1, 2)) == (1, 2)


def plain(value: Any) -> Any:
    """A value with its types, which are JSON's own."""
    if isinstance(value, list):
        return list, [plain(each) for each in value]
    if isinstance(value, dict):
        return dict, {name: plain(each) for name, each in value.items()}
    return type(value), value


def test_a_listed_key_is_a_value(kv: KeyValues) -> None:
    """What iterating gives may be stored again."""
    kv[("a/b",)] = 1
    (first,) = kv
    kv["keys"] = [first]
    kv["first"] = first
    assert (kv["keys"], kv["first"]) == (["a/b"], "a/b")


@pytest.mark.parametrize("value", [{1}, b"a", object, 1j, range(2), (1, {2})], ids=repr)
def test_values_that_json_has_not(wire: Wire, value: Any) -> None:
    """They are refused before anything is sent, by every verb that stores."""
    kv = wire.session.kv
    for write in (kv.set, kv.setdefault):
        for path in ("k", "k/a", "k/-"):
            with pytest.raises(InvalidData, match=r"the value of 'k' cannot .* Nothing was sent"):
                write(path, value)
    assert wire.methods == []


def test_documented_example(kv: KeyValues) -> None:
    """A value that was set is read back, whole and by any path into it."""
    kv["my_key"] = DOCUMENTED
    assert kv["my_key"] == DOCUMENTED
    assert kv["my_key/baz/faz"] == [1, 2, 3]
    assert kv["my_key/baz/faz/0"] == 1
    assert kv[("my_key", "baz", "far")] is False


@given(value=any_json)
def test_any_json_value_round_trips(session: Session, value: Any) -> None:
    """Whatever JSON can say comes back as it was, at the root and below it."""
    session.kv["any"] = value
    session.kv["below/a/b"] = value
    assert same(session.kv["any"], value)
    assert same(session.kv["below/a/b"], value)


def same(one: object, other: object) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@pytest.mark.parametrize("key", ODD_KEYS)
def test_keys_that_are_no_kinto_ids(kv: KeyValues, key: str) -> None:
    """Any text may be a root key and a name below it; `-` is a name where an object has it."""
    kv[(key,)] = {key: {}}
    kv[(key, key, "deep")] = 1
    kv[(key, key, "more")] = 2
    assert kv[(key,)] == {key: {"deep": 1, "more": 2}}
    assert list(kv) == [key]
    assert kv.get_many([(key, key, "deep"), (key, "nope")]) == {(key, key, "deep"): 1}
    del kv[(key, key, "deep")]
    assert kv[(key, key)] == {"more": 2}
    del kv[(key,)]
    assert len(kv) == 0


def test_a_key_with_a_slash_is_listed_so_that_it_can_be_read(kv: KeyValues) -> None:
    """What iteration gives is the key, and serves as a path."""
    kv[("a/b", "c")] = 1
    kv["a/b"] = 2
    assert sorted(kv) == ["a", "a/b"]
    assert {key: kv[key] for key in kv} == {"a": {"b": 2}, "a/b": {"c": 1}}
    assert dict(kv) == dict(kv.items()) == {"a": {"b": 2}, "a/b": {"c": 1}}


def test_null_is_not_missing(kv: KeyValues) -> None:
    """None is a value like any other."""
    kv["n"] = None
    kv["o/n"] = None
    assert sorted(kv) == ["n", "o"]
    assert kv["n"] is None
    assert kv["o"] == {"n": None}
    assert "n" in kv
    assert "o/n" in kv
    assert kv.get("n", "default") is None
    assert kv.get_many(["n", "o/n", "nope", "o/nope"]) == {"n": None, "o/n": None}


@pytest.mark.parametrize(
    "path", ["nope", "nope/a", "key/nope", "key/list/2", "key/list/-1", "key/s/x"]
)
def test_missing_values(kv: KeyValues, path: str) -> None:
    """Where nothing is, it is a KeyNotFound, or the default."""
    kv["key"] = {"list": [1, 2], "s": "text"}
    for act in (kv.__getitem__, kv.__delitem__, kv.delete, kv.pop):
        with pytest.raises(KeyNotFound):
            act(path)
    assert path not in kv
    assert kv.get(path) is None
    assert kv.get(path, 5) == 5
    assert kv.pop(path, 5) == 5
    kv.delete(path, missing_ok=True)
    assert kv["key"] == {"list": [1, 2], "s": "text"}


def test_mapping_methods(kv: KeyValues) -> None:
    """It is a mutable mapping of the root keys."""
    kv.update({"a": 1, "b": [2], "c": {"d": 3}})
    assert dict(kv) == {"a": 1, "b": [2], "c": {"d": 3}}
    assert len(kv) == 3
    assert sorted(kv.keys()) == ["a", "b", "c"]
    assert kv.keys() == {"a", "b", "c"}
    assert ("b", [2]) in kv.items()
    assert {"d": 3} in kv.values()
    assert [2] not in [*kv.values()][:1]
    assert kv.pop("c/d") == 3
    assert kv.pop("c") == {}
    assert kv.setdefault("a", 9) == 1
    assert kv.setdefault("e/f", 9) == 9
    assert kv["e"] == {"f": 9}
    kv.clear()
    assert list(kv) == []


def test_an_empty_bucket_reads_as_an_empty_mapping(session: Session) -> None:
    """Before the first write there is nothing, and reading makes nothing."""
    kv = session.kv
    assert list(kv) == list(kv.keys("a")) == [*kv.items()] == [*kv.values()] == []
    assert len(kv) == 0
    assert not kv
    assert "a" not in kv
    assert kv.get_many(["a", "b"]) == {}
    kv.clear()
    kv.delete("a", missing_ok=True)
    assert Collection.get_or_none("kv") is None


def test_the_repr_says_where_and_sends_nothing(wire: Wire) -> None:
    """A repr shows the bucket and the server."""
    assert repr(wire.session.kv).startswith(f"<KeyValues of bucket '{wire.session.bucket}' on ")
    assert wire.requests == []


# Writing


def test_nested_writes(kv: KeyValues) -> None:
    """Missing parents are made as objects; indices count from 0, and `-` appends."""
    kv["new/a/1"] = None
    assert kv["new"] == {"a": {"1": None}}
    kv["new/a/list"] = []
    kv["new/a/list/-"] = {"x": 1}
    kv["new/a/list/-"] = 2
    kv["new/a/list/0/y/z"] = 3
    kv["new/a/list/1"] = "two"
    assert kv["new/a"] == {"1": None, "list": [{"x": 1, "y": {"z": 3}}, "two"]}
    kv["new"] = "whole"
    assert kv["new"] == "whole"


def test_deletion(kv: KeyValues) -> None:
    """What is at a path goes with all below it; items of a list move up."""
    kv["k"] = {"a": {"b": 1, "c": 2}, "list": [1, 2, 3]}
    del kv["k/a/b"]
    del kv["k/list/0"]
    assert kv["k"] == {"a": {"c": 2}, "list": [2, 3]}
    kv.delete("k/a")
    assert kv["k"] == {"list": [2, 3]}
    del kv["k"]
    assert "k" not in kv


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("k/s/x", "'s' holds a string"),
        ("k/null/x/y", "'null' holds null"),
        ("k/list/2", "not an index"),
        ("k/list/01", "not an index"),
        ("k/list/-1", "not an index"),
        ("k/list/x/y", "not an index"),
        ("", "empty"),
        ("k//a", "empty"),
        ("k/", "empty"),
        ("k/../a", "not allowed"),
        ("k/.", "not allowed"),
        ("k/a\0b", "NUL"),
        ("k/\ud800", "surrogate"),
        ("k" * 2001, "too long"),
        ((), "at least one"),
        (("k", ""), "empty"),
        (("list", 0), "cannot be a part"),
        (5, "cannot be a part"),
    ],
)
def test_paths_that_cannot_be_written(kv: KeyValues, path: Any, complaint: str) -> None:
    """A path that leads nowhere is an error that says why, and nothing changes."""
    kv["k"] = before = {"s": "text", "null": None, "list": [1, 2]}
    with pytest.raises(PathError, match=complaint):
        kv[path] = 1
    assert dict(kv) == {"k": before}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**64, "a\0b", {"a": ["\ud800"]}, {1}]
)
@pytest.mark.parametrize("path", ["k", "k/a", "new"])
def test_values_that_the_server_would_change(kv: KeyValues, path: str, value: Any) -> None:
    """What no server can store is refused before it is sent."""
    kv["k"] = {"a": 1}
    with pytest.raises(InvalidData, match="cannot be stored"):
        kv[path] = value
    assert dict(kv) == {"k": {"a": 1}}


@pytest.mark.parametrize(
    "value",
    [{1: "a", "1": "b"}, {True: 1}, {None: 1}, {1.5: 1}, {(1, 2): 1}, [{"a": ({2: 1},)}]],
    ids=repr,
)
@pytest.mark.parametrize("path", ["k", "k/a"])
def test_names_that_are_no_texts(wire: Wire, path: str, value: Any) -> None:
    """JSON's names are texts: others are refused, not turned into texts that may meet."""
    wire.session.kv["k"] = {"1": "a", "true": 1, "null": [{"1.5": '"1":'}]}
    wire.clear()
    with pytest.raises(InvalidData, match="in an object is no text"):
        wire.session.kv[path] = value
    assert set(wire.methods) <= {"GET"}


@pytest.mark.parametrize("levels", [201, 1000, 100_000])
@pytest.mark.parametrize("kind", [list, dict])
def test_values_that_are_too_deep(wire: Wire, kind: type, levels: int) -> None:
    """A value that would make the server fail, or Python, is refused with the reason."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    with pytest.raises(InvalidData, match="deeper than 200 levels"):
        wire.session.kv["k"] = value
    assert wire.methods == []


def test_deep_values_below_the_limits(kv: KeyValues) -> None:
    """What is not refused works: 198 levels in a path of a hundred segments."""
    value: Any = 1
    for _ in range(198):
        value = [value]
    kv["k"] = value
    assert kv["k"] == value
    path = ("p", *["a"] * 99)
    kv[path] = 1
    kv[path] = value
    assert kv[path] == value
    assert kv.pop(path) == value
    with pytest.raises(PathError, match="101 segments, and 100 is the most"):
        kv[(*path, "a")] = 1


def test_large_floats(session: Session) -> None:
    """They come back as floats, which can be stored again, wherever they are."""
    kv = session.kv
    large = {"f": 1e300, "l": [-1e20, 2e19, 7], "i": 2**64 - 1, "j": -(2**63)}
    kv["k"] = large
    found = [kv["k"], kv.get_many(["k"])["k"], dict(kv.items())["k"], next(iter(kv.values()))]
    assert all(same(each, large) for each in found)
    kv["k"] = kv["k"]
    kv["k/copy"] = kv["k"]
    assert same(kv["k/copy"], large)
    assert same(kv.setdefault("k/copy/f", 1), 1e300)
    assert same(kv.pop("k"), large | {"copy": large})


@pytest.mark.parametrize("remove", ["delete", "pop"])
def test_an_item_with_a_large_float_is_removed(kv: KeyValues, remove: str) -> None:
    """The guard of a list is made of what can be compared."""
    kv["k"] = [1e300, {"id": 1, "size": 1e300, "l": [1, 1e300]}, 2]
    for _ in range(2):
        getattr(kv, remove)("k/0")
    assert kv["k"] == [2]


def test_a_value_of_5_megabytes(kv: KeyValues) -> None:
    """A large value is stored, and written into."""
    kv["big"] = {"text": "x" * 5_000_000}
    kv["big/small"] = 1
    assert len(kv["big/text"]) == 5_000_000  # type: ignore[arg-type]
    assert kv["big/small"] == 1


# What is sent


def test_a_root_key_is_one_put(wire: Wire) -> None:
    """Setting a root key replaces it whole, without a precondition."""
    wire.session.kv["k"] = 1
    wire.clear()
    wire.session.kv["k"] = {"a": 1}
    assert wire.methods == ["PUT"]
    assert not {"If-Match", "If-None-Match"} & wire.last.headers.keys()
    assert wire.body == {"data": {"key": "k", "value": {"a": 1}}}


def test_a_nested_write_is_one_patch(wire: Wire) -> None:
    """Below a root key one JSON-Patch with the precondition of what was read is sent."""
    wire.session.kv["k"] = {"a": 1}
    record = Record.get("k", session=wire.session.scoped(collection="kv"))
    wire.clear()
    wire.session.kv["k/b/c"] = None
    assert wire.methods == ["GET", "PATCH"]
    assert wire.last.headers["If-Match"] == f'"{record.last_modified}"'
    assert wire.last.headers["Content-Type"] == "application/json-patch+json"
    assert wire.body == [{"op": "add", "path": "/data/value/b", "value": {"c": None}}]


def test_many_values_are_one_request(wire: Wire) -> None:
    """get_many asks once for a hundred root keys, and once for two paths of one key."""
    kv = wire.session.kv
    for number in range(3):
        kv[f"key.{number}"] = {"n": number, "m": 0}
    wire.clear()
    paths = [f"key.{number}/n" for number in range(99)]
    assert kv.get_many([*paths, "key.1/m"]) == {
        "key.0/n": 0, "key.1/n": 1, "key.2/n": 2, "key.1/m": 0
    }  # fmt: skip
    assert wire.methods == ["GET"]
    assert len(parse_qs(urlsplit(wire.last.url).query)["in_id"][0].split(",")) == 99
    wire.clear()
    assert len(kv.get_many(f"key.{number}" for number in range(250))) == 3
    assert wire.methods == ["GET"] * 3
    assert max(len(str(each.url)) for each in wire.requests) < 4000


def test_get_many_takes_paths_not_a_path(kv: KeyValues) -> None:
    """A single path is no list of paths: it would be taken for its letters."""
    with pytest.raises(PathError, match="several"):
        kv.get_many("abc")


def test_whole_listings_are_streamed(wire: Wire) -> None:
    """Keys, items and values come by the page, not one by one."""
    kv = wire.session.kv
    for number in range(150):
        kv[f"k{number}"] = number
    wire.clear()
    assert sum(1 for _ in kv) == 150
    assert len(kv) == 150
    # The second GET is for records whose ids only look as if they were those of keys.
    assert wire.methods == ["GET", "HEAD", "GET"]
    wire.clear()
    assert sum(value for _, value in kv.items()) == sum(kv.values()) == 150 * 149 / 2  # type: ignore[misc]
    assert wire.methods == ["GET"] * 4


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("conf-", ["conf-a", "conf-b.yaml"]),
        ("conf", ["conf-a", "conf-b.yaml", "conf_c", "conf.d"]),
        ("Conf", ["Conf-x"]),
        ("x", ["x--y", "x.y", "xy"]),
        ("x--", ["x--y"]),
        ("_", ["_hidden"]),
        ("a/", ["a/b"]),
        ("é", ["été"]),
        ("nope", []),
        ("*", []),
    ],
)
def test_prefix_listing(kv: KeyValues, prefix: str, found: list[str]) -> None:
    """Keys with a prefix are found whatever their record ids look like."""
    for key in ["conf-a", "conf-b.yaml", "conf_c", "conf.d", "Conf-x", "x--y", "x.y", "xy",
                "_hidden", "a/b", "été", "confab"[:3]]:  # fmt: skip
        kv[(key,)] = key
    assert sorted(kv.keys(prefix)) == sorted(found)
    assert dict(kv.items(prefix)) == {key: key for key in found}
    assert len(kv.keys(prefix)) == len(kv.items(prefix)) == len(found)
    assert all(key in kv.keys(prefix) for key in kv.keys(prefix))
    assert "con" not in kv.keys(prefix)


@given(prefix=any_text.filter(bool), rest=any_text)
def test_a_prefix_of_a_key_is_seen_in_its_id(prefix: str, rest: str) -> None:
    """Whatever the key, one of the id prefixes finds it."""
    assert keypath.record_id(prefix + rest).startswith(keypath.id_prefixes(prefix))


# Buckets and collections


def test_the_collection_is_made_by_the_first_write(session: Session) -> None:
    """Nobody has to make the collection `kv`, and the records in it are plain ones."""
    session.kv["a.b/c"] = 1
    record = Record.find(session=session.scoped(collection="kv")).one()
    assert (record.id, record["key"], record["value"]) == ("x--a-2eb", "a.b", {"c": 1})
    assert [each.action for each in record.history(session=session)] == ["create"]
    record.permissions.grant("read", Everyone).save()
    session.kv["a.b/d"] = 2
    assert record.refresh().permissions.read == {Everyone}


def test_no_other_bucket_is_made(backend: Backend) -> None:
    """A bucket that does not exist is an error that names the remedy, for reads and writes."""
    with backend.session(bucket=backend.new_id("missing")) as session:
        for act in (lambda: session.kv.set("a", 1), lambda: session.kv.set("a/b", 1)):
            with pytest.raises(
                (NotFound, Forbidden), match=rf"save Bucket\(id='{session.bucket}'\)"
            ):
                act()
        with pytest.raises(Forbidden, match="does not exist, or you may not use it"):
            session.kv["a"]
        assert Bucket.get_or_none(session.bucket) is None


@pytest.mark.parametrize(
    "read",
    [
        list,
        len,
        lambda kv: list(kv.values()),
        lambda kv: list(kv.items("a")),
        lambda kv: list(kv.keys("a b")),
        lambda kv: len(kv.keys("a")),
        lambda kv: kv.get_many(["a", "b"]),
        lambda kv: kv.clear(),
    ],
    ids=["list", "len", "values", "items", "keys", "count", "get_many", "clear"],
)
def test_what_keys_are_listed_by_is_not_named(
    backend: Backend, read: Callable[[KeyValues], object]
) -> None:
    """Without a bucket the message speaks of keys and of the bucket, and of no class of ours."""
    with backend.session(bucket=backend.new_id("missing")) as session:
        with pytest.raises(Forbidden) as caught:
            read(session.kv)
        said = str(caught.value)
        assert said.startswith(("cannot find the keys: ", "cannot count the keys: "))
        assert f"save Bucket(id='{session.bucket}') first" in said
        assert "Entry" not in said
        assert "sync_schema" not in said


def test_the_personal_bucket_is_made_by_the_first_write(backend: Backend) -> None:
    """Reading makes no personal bucket, writing does."""
    with backend.session(auth=(backend.new_id("user"), "pw")) as session:
        assert session.kv.get("a") is None
        assert list(session.kv) == []
        assert session.kv.get_many(["a"]) == {}
        session.kv.delete("a", missing_ok=True)
        session.kv.clear()
        home = f"/buckets/{session.resolve_bucket()}"
        assert home not in {each.uri for each in session.permissions()}
        session.kv["a/b"] = 1
        assert session.kv["a"] == {"b": 1}
        del session.kv["a"]
        assert len(session.kv) == 0


def test_each_bucket_has_its_own(session: Session, backend: Backend) -> None:
    """`bucket.kv` is the mapping of that bucket."""
    other = Bucket(id=backend.new_id()).save()
    other.kv["a"] = "other"
    session.kv["a"] = "own"
    assert (other.kv["a"], session.kv["a"]) == ("other", "own")
    assert session.scoped(bucket=other.id).kv["a"] == "other"
    assert Bucket.get(session.bucket).kv["a"] == "own"


def test_what_others_keep_to_themselves(session: Session, backend: Backend) -> None:
    """A bucket that may not be read is Forbidden, not empty."""
    session.kv["a"] = 1
    with backend.session(auth=("somebody", "else"), bucket=session.bucket) as other:
        for act in (lambda: other.kv["a"], lambda: list(other.kv), lambda: other.kv.set("a", 2)):
            with pytest.raises(Forbidden):
                act()
    assert session.kv["a"] == 1


def test_the_anonymous_have_no_personal_bucket() -> None:
    """Without a login there is no default bucket, and the error says so."""
    with open_memory() as kinto, serve(kinto) as server:
        anonymous = Session(server.url)
        with pytest.raises(Unauthorized, match="belongs to a user"):
            anonymous.kv["a"]


def test_records_made_by_hand(session: Session) -> None:
    """A record without a value is no key, and a nested write gives it one."""
    session.kv["a"] = 1
    records = Collection.get("kv").records
    records.new(id="bare", note="x").save()
    records.new(id="x--zz-q", value=1).save()
    assert dict(session.kv) == dict(session.kv.items()) == {"a": 1}
    assert "bare" not in session.kv
    session.kv["bare/x"] = 1
    assert session.kv["bare"] == {"x": 1}


def test_records_that_are_no_keys_are_let_be(session: Session) -> None:
    """They are neither counted nor listed nor cleared: the methods of the mapping agree."""
    kv = session.kv
    kv.update({"a": 1, "b.c": 2})
    records = Collection.get("kv").records
    for id in ("x--zz", "x--a", "x--", "x---2e"):
        records.new(id=id, value=3).save()
    records.new(id="bare").save()
    assert len(kv) == len(list(kv)) == len(kv.keys()) == len(kv.items()) == 2
    kv.clear()
    assert len(kv) == 0
    assert not kv
    assert sorted(str(each.id) for each in records.find()) == [
        "bare",
        "x--",
        "x---2e",
        "x--a",
        "x--zz",
    ]


# Other writers


class Interrupted(HTTPBasicAuth):
    """Credentials that let another writer in before a request of some method is sent."""

    def __init__(self) -> None:
        super().__init__("alice", "s3cret")
        self.before: list[tuple[str, Callable[[], None]]] = []

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self.before and self.before[0][0] == request.method:
            self.before.pop(0)[1]()
        return super().__call__(request)  # type: ignore[no-any-return]


@pytest.fixture
def interrupted(wire: Wire, backend: Backend) -> Iterator[tuple[KeyValues, KeyValues, Interrupted]]:
    """One writer's key values, another's, and what lets that one in."""
    auth = Interrupted()
    with backend.session(auth=auth, bucket=wire.session.bucket) as session:
        yield session.kv, wire.session.kv, auth


def test_both_writers_are_kept(interrupted: Any) -> None:
    """A write at another place of the same key is not lost, however often it comes between."""
    mine, theirs, auth = interrupted
    mine["k"] = {}
    auth.before = [("PATCH", lambda n=n: theirs.set(f"k/theirs{n}", n)) for n in range(5)]
    mine["k/mine"] = "x"
    assert mine["k"] == {"mine": "x", **{f"theirs{n}": n for n in range(5)}}


def test_both_creators_are_kept(interrupted: Any) -> None:
    """Two nested writes below a key that neither found are both kept."""
    mine, theirs, auth = interrupted
    auth.before = [("PUT", lambda: theirs.set("k/theirs", 1))]
    mine["k/mine"] = 2
    assert mine["k"] == {"mine": 2, "theirs": 1}


def test_a_key_deleted_meanwhile_is_made_again(interrupted: Any) -> None:
    """A nested write is a write: it succeeds when the key goes away under it."""
    mine, theirs, auth = interrupted
    mine["k"] = {"old": 1}
    auth.before = [("PATCH", lambda: theirs.delete("k"))]
    mine["k/mine"] = 2
    assert mine["k"] == {"mine": 2}


def test_setdefault_overwrites_nobody(interrupted: Any) -> None:
    """When another writer was first, theirs is what there is."""
    mine, theirs, auth = interrupted
    auth.before = [("PUT", lambda: theirs.set("k", "theirs")), ("PUT", lambda: None)]
    assert mine.setdefault("k", "mine") == "theirs"
    mine["o"] = {}
    auth.before = [("PATCH", lambda: theirs.set("o/x", "theirs"))]
    assert mine.setdefault("o/x", "mine") == "theirs"
    assert dict(mine) == {"k": "theirs", "o": {"x": "theirs"}}


def test_deletion_removes_the_item_that_was_read(interrupted: Any) -> None:
    """When the list moved meanwhile, nothing is removed, and the Conflict shows both items."""
    mine, theirs, auth = interrupted
    mine["k"] = {"list": ["a", "b", "c"]}
    auth.before = [("PATCH", lambda: theirs.delete("k/list/0"))]
    with pytest.raises(Conflict, match="another item is there now") as raised:
        mine.delete("k/list/1")
    assert (raised.value.base, raised.value.remote) == ("b", "c")
    assert mine["k/list"] == ["b", "c"]


def test_deletion_goes_on_when_the_item_stayed(interrupted: Any) -> None:
    """Another change of the key does not keep an item from being deleted."""
    mine, theirs, auth = interrupted
    mine["k"] = {"list": [{"a": 1, "b": 2}, 3]}
    auth.before = [("PATCH", lambda: theirs.set("k/other", 1))]
    del mine["k/list/0/a"]
    auth.before = [("PATCH", lambda: theirs.set("k/list/-", 4))]
    del mine["k/list/0"]
    assert mine["k"] == {"list": [3, 4], "other": 1}


def test_deletion_of_a_member_takes_what_is_there(interrupted: Any) -> None:
    """After `del kv[path]` nothing is there, whatever another writer put there meanwhile."""
    mine, theirs, auth = interrupted
    mine["k"] = {"a": 1, "b": 2}
    auth.before = [("PATCH", lambda: theirs.set("k/a", "new"))]
    del mine["k/a"]
    assert mine["k"] == {"b": 2}
    auth.before = [("PATCH", lambda: theirs.delete("k/b"))]
    with pytest.raises(KeyNotFound):
        del mine["k/b"]


@pytest.mark.parametrize("path", ["k", "k/0"])
def test_pop_gives_what_it_removed(interrupted: Any, path: str) -> None:
    """The value that pop returns is the one that it took away."""
    mine, theirs, auth = interrupted
    mine["k"] = ["a", "b"]
    method = "DELETE" if path == "k" else "PATCH"
    auth.before = [(method, lambda: theirs.delete("k/0"))]
    assert mine.pop(path) in ("b", ["b"])
    assert mine.get("k", []) == []


def test_320_nested_writes_of_8_writers_are_all_kept(backend: Backend, session: Session) -> None:
    """8 writers with 40 nested writes each on one key lose nothing."""

    def write(writer: int) -> None:
        with backend.session(bucket=session.bucket) as own:
            for number in range(40):
                own.kv[f"shared/w{writer}/{number}"] = number

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    stored: Any = session.kv["shared"]
    assert {name: len(each) for name, each in stored.items()} == {f"w{n}": 40 for n in range(8)}


def test_a_list_is_a_queue(session: Session) -> None:
    """Of 4 threads that append and 4 that pop, each item is taken by one, once."""
    session.kv["queue"] = []

    def append(thread: int) -> None:
        for number in range(5):
            session.kv["queue/-"] = f"{thread}-{number}"

    def take(_: int) -> list[Any]:
        return [session.kv.pop("queue/0") for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
        taken = [item for items in pool.map(take, range(4)) for item in items]
    assert sorted(taken) == sorted(
        f"{thread}-{number}" for thread in range(4) for number in range(5)
    )
    assert session.kv["queue"] == []


# No server


def test_a_server_that_is_gone() -> None:
    """Without a server each act ends with an error that names it."""
    with open_memory() as kinto, serve(kinto) as server:
        session = Session(server.url, auth=kinto.auth, retry=FAST)
        session.kv["k"] = {}
    for act in (lambda: session.kv["k"], lambda: session.kv.set("k/a", 1), lambda: len(session.kv)):
        with pytest.raises(ConnectFailed, match="no answer from http"):
            act()
