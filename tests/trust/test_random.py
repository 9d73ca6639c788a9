"""Whatever a server or something in between says, only documented errors come out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trust.cells import Cell, Laboratory
from trust.faults import Fault
from trust.operations import OPERATIONS, Operation
from trust.proxy import Exchange
from trust.share import share_of

_IDS = st.sampled_from(["one", "t1", "a", "page", "somebody-else", "", "0"])
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True),
    st.text(max_size=5),
    _IDS,
)
# What Kinto's own answers are made of: so that the random ones come near to them.
_WORDS = """
data id last_modified deleted permissions read write title tags value key name source responses
status body headers path settings batch_max_requests capabilities user principals bucket
project_version http_api_version url code errno error message details existing resource_name schema
date action uri user_id target members ETag
"""
_NAMES = st.sampled_from(_WORDS.split())
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=5)
    ),
    max_leaves=20,
)
_OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(_IDS, _SCALARS),
        "last_modified": st.one_of(st.integers(0, 2**50), _SCALARS),
        "value": _JSON,
        "title": _JSON,
        "deleted": _JSON,
    },
)
_ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.one_of(st.sampled_from([200, 201, 304, 404, 409, 412, 503]), _JSON),
        "body": st.one_of(st.fixed_dictionaries({"data": st.one_of(_OBJECTS, _JSON)}), _JSON),
        "headers": _JSON,
        "path": _JSON,
    },
)
_SHAPES = st.one_of(
    _JSON,
    st.fixed_dictionaries(
        {"data": st.one_of(_OBJECTS, st.lists(_OBJECTS, max_size=3), _JSON)},
        optional={"permissions": _JSON},
    ),
    st.fixed_dictionaries({"responses": st.lists(_ITEMS, max_size=6)}),
    st.fixed_dictionaries(
        {
            "code": _JSON,
            "errno": st.one_of(
                st.sampled_from([104, 107, 110, 111, 114, 121, 122, 201, 999]), _JSON
            ),
            "error": _JSON,
            "message": _JSON,
            "details": st.one_of(
                st.fixed_dictionaries({"existing": st.one_of(_OBJECTS, _JSON)}), _JSON
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "settings": _JSON,
            "capabilities": _JSON,
            "user": _JSON,
            "project_version": _JSON,
            "http_api_version": _JSON,
        }
    ),
)
_BODIES = st.one_of(st.binary(max_size=40), _SHAPES.map(lambda value: json.dumps(value).encode()))
_STATUSES = st.one_of(
    st.sampled_from(
        [
            200,
            200,
            200,
            201,
            202,
            204,
            206,
            207,
            300,
            301,
            304,
            400,
            401,
            403,
            404,
            405,
            406,
            409,
            410,
            412,
            413,
            415,
            429,
            500,
            501,
            502,
            503,
            504,
        ]
    ),
    st.integers(200, 999),
)
_VALUES = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    st.integers(-5, 2**70).map(str),
    st.sampled_from(
        [
            '"1"',
            'W/"2"',
            "application/json",
            "text/html",
            "gzip",
            "identity",
            "/v1/",
            "http://x.test/v1/?_token=1",
            "2026-01-01",
            "soon",
        ]
    ),
)
_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "ETag",
            "Last-Modified",
            "Next-Page",
            "Total-Objects",
            "Total-Records",
            "Alert",
            "Location",
            "X-Odd",
            "Content-Encoding",
        ]
    ),
    _VALUES,
    max_size=4,
)


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    laboratory = Laboratory()
    yield laboratory
    laboratory.close()


def _say(status: int, body: bytes, headers: dict[str, str], exchange: Exchange) -> None:
    exchange.answer(status, body, headers)


# What a session makes of an odd answer is the same for many operations: a third of them do.
_THIRD = share_of((each.name for each in OPERATIONS), 3)


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.name in _THIRD], ids=lambda each: each.name
)
def test_only_documented_errors_come_out(operation: Operation, laboratory: Laboratory) -> None:
    """One answer, or all from one on, are random; some of them nearly what Kinto says."""
    requests = len(laboratory.plain(operation).received)

    @settings(max_examples=settings().max_examples // 10)
    @given(
        status=_STATUSES,
        body=_BODIES,
        headers=_HEADERS,
        number=st.integers(1, requests),
        lasting=st.booleans(),
    )
    def try_it(
        status: int, body: bytes, headers: dict[str, str], number: int, lasting: bool
    ) -> None:
        play = partial(_say, status, body, headers)
        fault = Fault("random", "random", play, lasting=lasting)
        wrong: list[Any] = laboratory.told(Cell(operation, fault, number))
        assert not wrong, wrong

    try_it()
