"""JSON values compare as PostgreSQL's jsonb does, in keys of bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinto_orm.server.sqlite.values import decode, encode, fits, key

RISING = [
    None,
    "",
    "A",
    "a",
    "é",
    "\ue000",
    "😀",
    -(2**63),
    -(2**53) - 1,
    -1e15,
    -1.5,
    0,
    5e-324,
    0.1,
    1,
    2**53,
    2**53 + 1,
    2**53 + 2,
    2**62,
    2**62 + 1,
    2**63 - 1,
    2**63,
    1e300,
    False,
    True,
    [],
    [1],
    ["a", "b"],
    ["a", "b\0"],
    ["a\0", "b"],
    [1, "a"],
    [0, 0, 0],
    {},
    {"aa": 0},
    {"b": 1},
    {"b": 2},
    {"a": 1, "b": 1},
]
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values: st.SearchStrategy[Any] = st.recursive(
    plain | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def test_values_are_in_the_order_of_their_types_and_sizes() -> None:
    """Null, texts, numbers, booleans, arrays by their lengths, objects by their sizes."""
    keys = [key(value) for value in RISING]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0, -0.0), (2**60, float(2**60))])
def test_equal_numbers_have_one_key(one: float, other: float) -> None:
    """However they are written."""
    assert key(one) == key(other)


@given(st.integers(-(2**63), 2**63 - 1) | numbers, st.integers(-(2**63), 2**63 - 1) | numbers)
def test_numbers_compare_exactly(one: float, other: float) -> None:
    """Also integers that no float can be, beside floats."""
    assert (key(one) < key(other)) == (one < other)
    assert (key(one) == key(other)) == (one == other)


@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    """As JSON, with each float to its last digit; half a character, too."""
    text = encode(value)
    assert decode(text) == value
    assert json.loads(text) == value
    text.encode()


def test_half_a_character_is_stored() -> None:
    """As an escape: no UTF-8 has it."""
    assert decode(encode(["é\ud800😀"])) == ["é\ud800😀"]
    encode(["é\ud800😀"]).encode()


@pytest.mark.parametrize(
    ("text", "pattern", "does"),
    [
        ("Foo", "foo", True),
        ("foo", "%O%", True),
        ("É", "é", True),
        ("a\nb", "a%b", True),
        ("a.c", "a_c", True),
        ("abc", r"a\_c", False),
        ("a_c", r"a\_c", True),
        ("a%", r"a\%", True),
        ("a\\", "a\\\\", True),
        ("a(c", "a(c", True),
        ("xa", "a", False),
        ("ΟΔΟΣ", "οδοσ", True),
        ("ς", "Σ", False),
        ("İ", "i", True),
    ],
)
def test_patterns_are_those_of_like(text: str, pattern: str, does: bool) -> None:
    """Upper and lower case are the same; a backslash takes the meaning of what follows."""
    assert fits(text, pattern) is does
