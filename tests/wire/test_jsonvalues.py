"""What is written as JSON for the server, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kinto_orm.errors import InvalidData
from kinto_orm.wire.jsonvalues import alike, as_stored, decode, encode, encode_dumped, same

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def json_of(scalars: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> Any:
    """JSON values made of these."""
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner) | st.dictionaries(names, inner),
        max_leaves=10,
    )


json_values = json_of(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    texts,
)
odd_texts = st.text(st.characters()) | st.sampled_from(["NaN", "\0", "\ud800", "9" * 25])
odd_values = json_of(st.integers() | st.integers(2**63) | st.floats() | odd_texts, odd_texts)


def nested(levels: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@given(value=json_values)
def test_bodies_hold_any_json(value: Any) -> None:
    """What can be stored is written so that it is read back the same, in UTF-8."""
    for write in (encode, encode_dumped):
        read = json.loads(write(value, "it").decode())
        # Unlike ==, repr tells 1 from 1.0 and 0.0 from -0.0.
        assert repr(read) == repr(value)


def written(write: Callable[[Any, str], bytes], value: Any) -> tuple[str, str]:
    """What was written, parsed; or what was said."""
    try:
        return "written", repr(json.loads(write(value, "it")))
    except InvalidData as error:
        return "refused", str(error)


@given(value=odd_values)
@example(value="NaN")
@example(value=[float("-inf"), "Infinity"])
@example(value={"9" * 30: "\\u0000"})
def test_the_quick_way_refuses_the_same(value: Any) -> None:
    """What Pydantic dumped is written in another way, to the same end."""
    assert written(encode_dumped, value) == written(encode, value)


@pytest.mark.parametrize("levels", [200, 201, 300, 100_000])
def test_both_ways_know_how_deep_is_too_deep(levels: int) -> None:
    """More than 200 levels are refused, however many there are."""
    found = written(encode_dumped, nested(levels))
    assert found == written(encode, nested(levels))
    assert (found[0] == "refused") == (levels > 200)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, {"b": 2**64}]}, "a/1/b"),
        ({"a": -(2**63) - 1}, "a"),
        ({"a": {"b": "\0"}}, "a/b"),
        ({"a": {"\0": 1}}, "a/(name)"),
        ([10**30], "0"),
    ],
)
def test_what_cannot_be_stored_is_pointed_at(value: Any, where: str) -> None:
    """The message says where in the data it is."""
    with pytest.raises(InvalidData, match="Nothing was sent") as raised:
        encode(value, "Todo 'x'")
    assert f"(at {where})" in str(raised.value)
    assert "Todo 'x'" in str(raised.value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800", {"\udfff": 1}, {1, 2}, object(), b"x"]
)
def test_what_is_no_json_is_refused(value: Any) -> None:
    """NaN, half of a surrogate pair, and types that JSON does not have."""
    with pytest.raises(InvalidData, match="Nothing was sent"):
        encode(value)


def test_long_digits_in_texts_are_texts() -> None:
    """Only integers are too large, not texts of digits."""
    assert json.loads(encode({"a": "9" * 40})) == {"a": "9" * 40}
    assert json.loads(encode({"a": "\\u0000"})) == {"a": "\\u0000"}


# Reading


@given(value=odd_values)
@example(value=[2**80, -0.0, 5e-324, 1e23, float("nan"), float("-inf")])
@example(value={"\ud800": ["\udfff"]})
@pytest.mark.parametrize("ascii", [True, False])
def test_what_was_written_is_read(value: Any, ascii: bool) -> None:
    """The quick reader gives what `json` gives, types and signs and half surrogates included."""
    body = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    assert repr(decode(body)) == repr(json.loads(body.decode("utf-8", "surrogatepass")))


@pytest.mark.parametrize("body", [b"", b"{", b"[1,]", b'"\t"', b'"\xff"', b"<html>", b"{} {}"])
def test_what_is_no_json_is_not_read(body: bytes) -> None:
    """It is a ValueError, as it is for `json`."""
    with pytest.raises(ValueError, match=r"line 1 column|utf-8"):
        decode(body)


def test_many_levels_are_read() -> None:
    """More than Pydantic's reader takes."""
    assert decode(b"[" * 500 + b"]" * 500) == nested(500)


# Comparing


@given(value=json_values, other=json_values)
def test_a_value_is_the_same_as_itself(value: Any, other: Any) -> None:
    """And as what JSON makes of it; two are alike where they are the same."""
    again = json.loads(json.dumps(value))
    assert same(value, again)
    assert alike(value, again)
    assert not same([value], value)
    assert not same({"a": value}, {"a": value, "b": other})
    if same(value, other):
        assert alike(value, other)


@pytest.mark.parametrize("equal", [same, alike])
def test_numbers_are_told_from_booleans(equal: Callable[[Any, Any], bool]) -> None:
    """However deep they are; 1 is 1.0."""
    assert equal({"a": [1, {"b": 2}]}, {"a": [1.0, {"b": 2}]})
    assert not equal({"a": [1]}, {"a": [True]})
    assert not equal([[1, 2]], [[2, 1]])
    assert not equal([[1]], [[1, 1]])


@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_what_others_nested(make: Callable[[Any], Any]) -> None:
    """It is compared, and its large integers are made floats, at any depth."""
    one: Any = 10**30
    other: Any = 1e30
    for _ in range(5000):
        one, other = make(one), make(other)
    read = as_stored(one)
    assert same(read, other)
    assert alike(one, other)
    assert not same(read, make(other))


@given(value=json_values)
def test_a_value_is_read_as_a_copy(value: Any) -> None:
    """What was read stays as it is."""
    read: Any = {"a": [value, {"b": 10**30}]}
    kept = repr(read)
    assert as_stored(read) == {"a": [value, {"b": 1e30}]}
    assert repr(read) == kept
