"""Floats, whose last digit Kinto's parser may change: which ones come back as they were sent.

Kinto reads bodies with rapidjson's quick way, its /batch writes and reads them once more, and so
does its memory backend. So no other spelling of the same number would help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kinto_orm import Bucket, Record, Session


class Reading(Record, collection="readings"):
    """Numbers, one number, and one as a text."""

    numbers: list[float] = []
    number: float = 0.0
    text: Decimal = Decimal(0)


def create(session: Session, numbers: list[float]) -> Reading:
    return Reading(numbers=numbers).save(session=session)


def update(session: Session, numbers: list[float]) -> Reading:
    reading = Reading(numbers=[0.5]).save(session=session)
    reading.numbers = numbers
    return reading.save()


def batch(session: Session, numbers: list[float]) -> Reading:
    reading = Reading(numbers=numbers)
    session.save_all([reading])
    return reading


Save = Callable[[Session, list[float]], Reading]
WAYS: list[Save] = [create, update, batch]

# Many numbers in each request, and few requests.
few = settings(max_examples=15)
sizes = st.floats(1e-8, 999_999_999_999_999.0).flatmap(lambda size: st.sampled_from([size, -size]))
short = sizes.map(lambda size: float(f"{size:.15g}")) | st.just(0.0)


@pytest.fixture
def session(session: Session) -> Iterator[Session]:
    """With a collection for readings."""
    Bucket(id=session.bucket).collections.new(id="readings").save()
    return session


@pytest.mark.parametrize("save", WAYS)
@few
@given(numbers=st.lists(short, min_size=10))
def test_fifteen_digits_are_kept(session: Session, save: Save, numbers: list[float]) -> None:
    """The numbers in the answer and those that are read are those which were sent."""
    reading = save(session, numbers)
    assert reading.numbers == numbers
    assert Reading.get(reading.id, session=session).numbers == numbers


@few
@given(numbers=st.lists(short, min_size=10))
def test_fifteen_digits_are_kept_in_key_values(session: Session, numbers: list[float]) -> None:
    """As a value, and in one."""
    session.kv["k"] = {"a": 0.5}
    session.kv["k/a"] = list(numbers)
    assert session.kv["k"] == {"a": numbers}
    session.kv["k"] = numbers[0]
    assert session.kv["k"] == numbers[0]


@pytest.mark.parametrize("save", WAYS)
@few
@given(numbers=st.lists(sizes, min_size=10))
@example(numbers=[123456789.12345679, 100 * 1.1])
def test_an_object_has_the_numbers_that_were_stored(
    session: Session, save: Save, numbers: list[float]
) -> None:
    """Which are those that were sent but for their last digits; nothing is left to save."""
    reading = save(session, numbers)
    stored = Reading.get(reading.id, session=session).numbers
    assert reading.numbers == stored
    assert stored == pytest.approx(numbers, rel=1e-15, abs=0)
    assert not reading.diff()


@pytest.mark.parametrize("number", [123456789.12345679, 100 * 1.1, 0.5])
def test_the_same_number_finds_it(session: Session, number: float) -> None:
    """A condition is read as the body was."""
    reading = Reading(number=number).save(session=session)
    assert [each.id for each in Reading.find(Reading.number == number, session=session)] == [
        reading.id
    ]


@few
@given(number=st.decimals(allow_nan=False, allow_infinity=False))
@example(number=Decimal("123456789.12345679"))
def test_decimals_are_kept(session: Session, number: Decimal) -> None:
    """They are stored as texts, to the last digit."""
    reading = Reading(text=number).save(session=session)
    assert str(Reading.get(reading.id, session=session).text) == str(number)
