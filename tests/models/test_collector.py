"""The garbage collector is paused while a large page is parsed, and as it was afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import ClassVar

import pytest
from pydantic import field_validator

from kinto_orm import InvalidData, Record, Session
from kinto_orm.models.collector import collector


class Note(Record, collection="notes"):
    """Remembers whether the collector was on when it was parsed."""

    seen: ClassVar[set[bool]] = set()

    text: str

    @field_validator("text")
    @classmethod
    def _look(cls, value: str) -> str:
        cls.seen.add(gc.isenabled())
        if value == "broken":
            raise ValueError(value)
        return value


@pytest.fixture
def notes() -> Iterator[Session]:
    """The current session on an empty collection; the collector is on again at the end."""
    Note.seen.clear()
    with Session("memory://", collection="notes") as session:
        yield session
    gc.enable()


def test_it_is_paused_for_a_large_page(notes: Session) -> None:
    """And it is on again afterwards."""
    notes.save_all(Record(text="x" * 1_000) for _ in range(60))
    assert len(Note.find().all()) == 60
    assert Note.seen == {False}
    assert gc.isenabled()


def test_it_goes_on_for_a_small_page(notes: Session) -> None:
    """There is nothing to be gained."""
    notes.save_all(Record(text="x") for _ in range(60))
    assert len(Note.find().all()) == 60
    assert Note.seen == {True}


def test_a_program_that_turned_it_off_finds_it_off(notes: Session) -> None:
    """It is left as it was."""
    notes.save_all(Record(text="x" * 1_000) for _ in range(60))
    gc.disable()
    assert len(Note.find().all()) == 60
    assert not gc.isenabled()


def test_it_goes_on_after_a_page_that_does_not_fit(notes: Session) -> None:
    """An error ends the pause, too."""
    notes.save_all(Record(text="x" * 1_000) for _ in range(60))
    Record(text="broken").save()
    with pytest.raises(InvalidData, match="broken"):
        Note.find().all()
    assert Note.seen == {False}
    assert gc.isenabled()


def test_pauses_of_several_threads_end_with_the_last(notes: Session) -> None:
    """However they overlap."""
    both, one_left = Barrier(2, timeout=10), Barrier(2, timeout=10)

    def first() -> None:
        with collector.paused():
            both.wait()
        one_left.wait()

    def second() -> bool:
        with collector.paused():
            both.wait()
            one_left.wait()
            return gc.isenabled()

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        assert pool.submit(second).result() is False
    assert gc.isenabled()
