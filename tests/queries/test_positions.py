"""Positions: a place in one query, which may be given to those who may not choose what is asked."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Backend, Wire
from kinto_orm import InvalidData, Record, Session, col
from kinto_orm.queries.positions import Start
from kinto_orm.wire.driving import run


class Todo(Record, collection="todos"):
    owner: str = "me"
    number: int = 0
    when: datetime | None = None


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def shared(wire: Wire) -> Wire:
    """Six records of mine and six of others."""
    wire.session.save_all(
        Todo(id=f"{owner}{n}", owner=owner, number=n, when=NOON + timedelta(seconds=n))
        for owner in ("me", "others")
        for n in range(6)
    )
    wire.clear()
    return wire


def ids(found: Any) -> list[str]:
    return [each.id for each in found]


def position(query: Any, size: int = 2) -> str:
    return str(next(iter(query.page_size(size).pages())).position)


QUERIES: dict[str, Any] = {
    "all": lambda: Todo.find(),
    "mine": lambda: Todo.find(Todo.owner == "me"),
    "others": lambda: Todo.find(Todo.owner == "others"),
    "more conditions": lambda: Todo.find(Todo.owner == "me", Todo.number < 5),
    "after an id": lambda: Todo.find(Todo.owner == "me", col(Todo.id) > "me0"),
    "by number": lambda: Todo.find(Todo.owner == "me").order_by(Todo.number),
    "by number, down": lambda: Todo.find(Todo.owner == "me").order_by(col(Todo.number).desc()),
    "by id, down": lambda: Todo.find(Todo.owner == "me").order_by(col(Todo.id).desc()),
    "since noon": lambda: Todo.find(col(Todo.when) >= NOON),
    "since a second later": lambda: Todo.find(col(Todo.when) >= NOON + timedelta(seconds=1)),
    "until an hour later": lambda: Todo.find(col(Todo.when) <= NOON + timedelta(hours=1)),
}


@pytest.mark.parametrize("name", list(QUERIES))
def test_a_position_is_a_place_in_its_query(shared: Wire, name: str) -> None:
    """The same query goes on with it, asked anew, with pages of any size; no other takes it."""
    query = QUERIES[name]()
    page = next(iter(query.page_size(2).pages()))
    place = page.position
    rest = ids(query)[len(page) :]
    for size in (1, 2, 5, 100):
        assert ids(QUERIES[name]().page_size(size).resume(place)) == rest
        assert ids(QUERIES[name]().limit(2).page_size(size).resume(place)) == rest[:2]
    resumed = query.resume(place)
    assert ids(resumed.only("number")) == rest
    assert (resumed.count(), resumed.exists()) == (query.count(), True)
    shared.clear()
    for other in QUERIES.keys() - {name}:
        resumed = QUERIES[other]().resume(place)
        for act in (
            resumed.all,
            resumed.first,
            resumed.exists,
            lambda q=resumed: q.update(number=9),
        ):
            with pytest.raises(InvalidData, match="another query"):
                act()
    assert shared.methods == []
    assert str(query.resume(place).update(number=77)) == f"{len(rest)} updated"


def test_the_order_in_which_conditions_are_given_does_not_matter(shared: Wire) -> None:
    """All of them must hold in any case."""
    place = position(Todo.find(Todo.owner == "me", Todo.number < 5))
    assert ids(Todo.find(Todo.number < 5).where(Todo.owner == "me").resume(place)) == [
        "me2", "me3", "me4",
    ]  # fmt: skip


def test_a_position_of_another_collection(shared: Wire, backend: Backend) -> None:
    """Where the objects are is a part of the query."""
    place = position(Todo.find())
    with (
        shared.session.scoped(bucket=backend.new_id("elsewhere")),
        pytest.raises(InvalidData, match="another query"),
    ):
        Todo.find().resume(place).all()


def test_a_position_cannot_choose_what_is_changed(shared: Wire) -> None:
    """Whoever made it up: it says where, and the conditions stay."""
    mine = Todo.find(Todo.owner == "me")
    for made_up in ('_sort=id&gt_id="0"', "_token=x&eq_owner=others", "gt_id=0"):
        with pytest.raises(InvalidData, match="no position"):
            mine.resume(made_up)
    # Even with the right digest, which needs the whole query, it is but a place in it.
    listing = run(shared.session, mine.listing())
    path = listing.place.path
    for start in (Start("gt_id", '0"&eq_owner="others'), Start("gt_id", ""), Start("gt_id", "a")):
        forged = start.position(mine.asked().told_apart_by(path))
        found = mine.resume(forged)
        assert set(ids(found)) <= set(ids(mine))
        found.update(number=77)
    assert {each.number for each in Todo.find(Todo.owner == "others")} == set(range(6))
    after = Todo.find(col(Todo.id) > "me3")
    early = Start("gt_id", "a").position(after.asked().told_apart_by(path))
    assert ids(after.resume(early)) == ids(after)


@given(data=st.data())
def test_a_position_that_was_changed_is_refused(shared: Wire, data: Any) -> None:
    """Any other text than the one that a page gave; before anything is sent."""
    name = data.draw(st.sampled_from(["mine", "by number"]))
    query = QUERIES[name]()
    place = position(query)
    content = json.loads(base64.urlsafe_b64decode(place + "=" * (-len(place) % 4)))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(
        st.text(max_size=4) | st.none() | st.integers() | st.lists(st.text(max_size=2), max_size=2)
    )
    kept = data.draw(st.integers(0, len(content)))
    changed = base64.urlsafe_b64encode(json.dumps(content[:kept] or content).encode()).decode()
    cut = place[: data.draw(st.integers(0, len(place) - 1))]
    random = data.draw(st.text(max_size=20))
    shared.clear()
    for text in (changed.rstrip("="), cut, random):
        if text == place:
            continue
        try:
            resumed = query.resume(text)
        except InvalidData:
            continue
        with pytest.raises(InvalidData, match="another query, or was changed"):
            resumed.all()
    assert shared.methods == []


def test_a_position_holds_no_secret_and_no_condition(shared: Wire) -> None:
    """It has the last id, or the server's own token, which has what the order is by."""
    place = position(Todo.find(Todo.owner == "me"))
    content = base64.urlsafe_b64decode(place + "=" * (-len(place) % 4)).decode()
    assert re.fullmatch(r'\["[0-9a-f]{32}","gt_id","me1","",""\]', content)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", place)
    ordered = position(Todo.find(Todo.owner == "me").order_by(Todo.number))
    content = base64.urlsafe_b64decode(ordered + "=" * (-len(ordered) % 4)).decode()
    assert "s3cret" not in content
    assert "owner" not in content


OTHER_PROGRAM = """
import sys
from kinto_orm import Record, Session
class Todo(Record, collection="todos"):
    owner: str = "me"
    number: int = 0
with Session(sys.argv[1], auth="alice:s3cret", bucket=sys.argv[2]):
    print([each.id for each in Todo.find(Todo.owner == "me").resume(sys.argv[3])])
"""


def test_a_position_holds_in_another_program(shared: Wire, loopback: Any) -> None:
    """It needs no memory and no key."""
    with Session(loopback.url, auth="alice:s3cret", bucket=shared.session.bucket):
        place = position(Todo.find(Todo.owner == "me"))
    arguments = [loopback.url, shared.session.bucket, place]
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROGRAM, *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "['me2', 'me3', 'me4', 'me5']"
