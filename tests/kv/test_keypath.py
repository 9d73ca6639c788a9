"""Key paths: ids of records, reading, and the JSON Patches that write and delete."""

import copy
import re

import jsonpatch
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kinto_orm.errors import KeyNotFound, PathError
from kinto_orm.kv import keypath

KINTO_ID = re.compile(r"\A[a-zA-Z0-9][a-zA-Z0-9_-]*\Z")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
segments = st.one_of(
    st.sampled_from(["a", "b", "0", "1", "2", "-", "~", "a/b", "~1", "01", "-1"]), texts
).filter(lambda text: text not in ("", ".", ".."))
scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc", max_size=3)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "0", "1", "-", "~", "a/b"]), inner, max_size=3)
    ),
    max_leaves=12,
)
paths = st.lists(segments, max_size=4)


def apply(value, operations):
    """Apply operations as the server does."""
    return jsonpatch.apply_patch({"data": {"value": copy.deepcopy(value)}}, operations)["data"][
        "value"
    ]


def model_step(value, segment, base):
    """Go one segment down in plain Python; LookupError where there is nothing."""
    if isinstance(value, dict):
        return value[segment]
    if isinstance(value, list):
        names = [str(base + i) for i in range(len(value))]
        if segment in names:
            return value[names.index(segment)]
    raise LookupError(segment)


def model_read(value, path, base):
    """Read in plain Python."""
    for segment in path:
        value = model_step(value, segment, base)
    return value


def model_set(value, path, new, base):
    """Set in plain Python, giving the new root; ValueError where it cannot be set."""
    if not path:
        return new
    first, *rest = path
    if isinstance(value, dict):
        inner = model_set(value[first], rest, new, base) if first in value else fresh(rest, new)
        return {**value, first: inner}
    if not isinstance(value, list):
        raise ValueError(first)
    if first == "-":
        return [*value, fresh(rest, new)]
    names = [str(base + i) for i in range(len(value))]
    if first not in names:
        raise ValueError(first)
    at = names.index(first)
    return [*value[:at], model_set(value[at], rest, new, base), *value[at + 1 :]]


def fresh(path, new):
    """Give what a path makes where nothing is."""
    return {path[0]: fresh(path[1:], new)} if path else new


def model_delete(value, path, base):
    """Delete in plain Python, giving the new root; LookupError where there is nothing."""
    first, *rest = path
    child = model_step(value, first, base)
    if rest:
        return model_set(value, [first], model_delete(child, rest, base), base)
    if isinstance(value, dict):
        return {name: kept for name, kept in value.items() if name != first}
    return [item for i, item in enumerate(value) if str(base + i) != first]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("my_key", ("my_key",)),
        ("my_key/baz/faz", ("my_key", "baz", "faz")),
        (("a/b", "c"), ("a/b", "c")),
        ("nginx.conf/é/ ", ("nginx.conf", "é", " ")),
        ("a/...", ("a", "...")),
    ],
)
def test_parse(path, expected):
    """A text is split at its slashes; a tuple stays as it is."""
    assert keypath.parse(path) == expected


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("", "''"),
        ((), "at least one"),
        ("/a", "''"),
        ("a/", "''"),
        ("a//b", "''"),
        ("a/./b", "'.'"),
        ("a/../b", "'..'"),
        ((".",), "'.'"),
        (("a", ""), "''"),
        ("a\0b", "NUL"),
        ("a/\ud800", "surrogate"),
    ],
)
def test_parse_refuses(path, named):
    """A path that no request can carry is refused with a ValueError that names the segment."""
    with pytest.raises(PathError, match=re.escape(named)) as caught:
        keypath.parse(path)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("foo", "foo"),
        ("Foo_1-2", "Foo_1-2"),
        ("x", "x"),
        ("x-", "x-"),
        ("nginx.conf", "x--nginx-2econf"),
        ("_private", "x--_private"),
        ("-", "x---2d"),
        ("x--", "x--x-2d-2d"),
        ("a b", "x--a-20b"),
        ("é", "x---c3-a9"),
        ("foo\n", "x--foo-0a"),
        ("", "x--"),
    ],
)
def test_record_id_examples(key, expected):
    """A key that Kinto allows is its own id; another one stays readable in its encoding."""
    assert keypath.record_id(key) == expected
    assert keypath.key_of(expected) == key


@given(st.one_of(texts, st.from_regex(r"x--[a-z0-9-]{0,8}", fullmatch=True)))
def test_record_id_is_legal_and_reversible(key):
    """Every key has a legal id from which it comes back, so no two keys share one."""
    made = keypath.record_id(key)
    assert KINTO_ID.match(made)
    assert keypath.key_of(made) == key


@given(st.from_regex(r"\A(x--)?[a-zA-Z0-9][a-zA-Z0-9_-]{0,12}\Z"))
def test_key_of_is_exact(record_id):
    """An id either is the one id of its key, or is refused."""
    try:
        key = keypath.key_of(record_id)
    except PathError:
        return
    assert keypath.record_id(key) == record_id


@pytest.mark.parametrize(
    "record_id", ["x--a", "x---ff", "x--a-2E", "x--a-", "_a", "a.b", "", "x--é", "a\n"]
)
def test_key_of_refuses_foreign_ids(record_id):
    """An id that no key has is an error and not somebody else's key."""
    with pytest.raises(PathError, match="not the record id"):
        keypath.key_of(record_id)


@pytest.mark.parametrize("key", ["a\ud800", "\udfff", "a\0", "k" * 2001, "é" * 400])
def test_record_id_refuses_what_servers_cannot_store(key):
    """Half surrogates, NUL and keys beyond PostgreSQL's index rows are refused before sending."""
    with pytest.raises(PathError):
        keypath.record_id(key)


def test_longest_key():
    """A key of exactly the longest length is stored under its own name."""
    assert keypath.record_id("k" * keypath.MAX_ID_LENGTH) == "k" * keypath.MAX_ID_LENGTH


VALUE = {"foo": 123, "list": [1, {"20": [7, 8]}, None], "0": "digit", "null": None, "a/b~": "odd"}


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ([], 0, VALUE),
        (["foo"], 0, 123),
        (["0"], 0, "digit"),
        (["null"], 0, None),
        (["list", "0"], 0, 1),
        (["list", "2"], 0, None),
        (["list", "1"], 1, 1),
        (["list", "2", "20", "1"], 1, 7),
        (["list", "1", "20", "0"], 0, 7),
        (["a/b~"], 0, "odd"),
    ],
)
def test_read(path, base, expected):
    """A path reads members by name and items by index, from 0 or from 1; null is a value."""
    assert keypath.read(VALUE, path, "k", base=base) == expected


@pytest.mark.parametrize(
    ("path", "base"),
    [
        (["nope"], 0),
        (["foo", "x"], 0),
        (["null", "x"], 0),
        (["list", "3"], 0),
        (["list", "0"], 1),
        (["list", "4"], 1),
        (["list", "-1"], 0),
        (["list", "-"], 0),
        (["list", "00"], 0),
        (["list", "+1"], 0),
        (["list", "1_0"], 0),
        (["list", "\u0661"], 0),
        (["list", "9" * 5000], 0),
    ],
)
def test_read_of_nothing(path, base):
    """Where nothing is, reading and deleting raise the KeyError that names the path."""
    with pytest.raises(KeyNotFound, match="nothing at 'k/"):
        keypath.read(VALUE, path, "k", base=base)
    with pytest.raises(KeyNotFound, match="nothing at 'k/"):
        keypath.delete_operations(VALUE, path, key="k", base=base)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (["foo", "x"], "'x' of 'k/foo/x' cannot be set: 'foo' holds a number"),
        (["null", "x", "y"], "'x' of 'k/null/x/y' cannot be set: 'null' holds null"),
        (["list", "3"], "'3' of 'k/list/3' is not an index"),
        (["list", "-1"], "'-1' of"),
        (["list", "01"], "'01' of"),
        (["list", "name"], "'name' of"),
    ],
)
def test_write_refused(path, named):
    """A write through a scalar or beside a list's items names the segment that is wrong."""
    with pytest.raises(PathError, match=re.escape(named)):
        keypath.write_operations(VALUE, path, 1, key="k")


def test_write_through_a_root_scalar_names_the_root():
    """The message names the root key when that is what holds the scalar."""
    with pytest.raises(PathError, match="'k' holds a string"):
        keypath.write_operations("text", ["x"], 1, key="k")


def test_operations_are_what_the_server_expects():
    """One operation makes the missing parents with the value, and escapes names as RFC 6901."""
    assert keypath.write_operations({}, ["a/b", "~c"], None, key="k") == [
        {"op": "add", "path": "/data/value/a~1b", "value": {"~c": None}}
    ]
    assert keypath.write_operations([1], ["0"], 2, key="k") == [
        {"op": "replace", "path": "/data/value/0", "value": 2}
    ]
    assert keypath.write_operations(1, [], 2, key="k") == [
        {"op": "add", "path": "/data/value", "value": 2}
    ]


def test_delete_of_a_root_key_is_not_a_patch():
    """A root key is a record: there is no patch that deletes it."""
    with pytest.raises(PathError, match="delete its record"):
        keypath.delete_operations({}, [], key="k")


@given(values, paths, st.sampled_from([0, 1]))
def test_read_is_the_model(value, path, base):
    """Reading equals a walk in plain Python."""
    try:
        expected = model_read(value, path, base)
    except LookupError:
        with pytest.raises(KeyNotFound):
            keypath.read(value, path, "k", base=base)
    else:
        assert keypath.read(value, path, "k", base=base) == expected


@given(values, paths, values, st.sampled_from([0, 1]))
def test_write_is_the_model(value, path, new, base):
    """The operations, applied, equal a set in plain Python; what Python refuses is refused."""
    try:
        expected = model_set(value, path, new, base)
    except ValueError:
        with pytest.raises(PathError):
            keypath.write_operations(value, path, new, key="k", base=base)
    else:
        operations = keypath.write_operations(value, path, new, key="k", base=base)
        assert apply(value, operations) == expected
        if base == 0:
            assert keypath.written(value, path, new) == expected


@given(values, paths, st.sampled_from([0, 1]))
def test_delete_is_the_model(value, path, base):
    """The operations, applied, equal a delete in plain Python."""
    assume(path)
    try:
        expected = model_delete(value, path, base)
    except LookupError:
        with pytest.raises(KeyNotFound):
            keypath.delete_operations(value, path, key="k", base=base)
    else:
        operations = keypath.delete_operations(value, path, key="k", base=base)
        assert apply(value, operations) == expected
        if base == 0:
            assert keypath.removed(value, path) == expected


@given(paths.filter(bool), values)
def test_what_was_written_is_read(path, new):
    """A value written below nothing is read back at its path."""
    assert keypath.read(keypath.nest(path, new), path, "k") == new
