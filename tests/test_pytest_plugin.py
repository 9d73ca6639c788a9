"""The fixtures that pytest offers to the tests of other programs."""

from __future__ import annotations

import pytest

from kinto_orm import Record, Session


class Note(Record, collection="notes"):
    """A record of a program under test."""

    text: str


@pytest.mark.parametrize("text", ["first", "second"])
def test_each_test_starts_with_an_empty_server(kinto_session: Session, text: str) -> None:
    """What one test saves, the next one does not see."""
    assert Note.find().all() == []
    note = Note(text=text).save()
    assert Note.get(note.id) == note
