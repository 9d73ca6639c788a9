"""Values that are stored as text: what is asked of the server, and what is left out here."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, PlainSerializer, SecretStr

from conftest import Wire
from faults import FaultyServer, passed_on
from kinto_orm import Collection, InvalidData, Record, Session, col, field


class Color(Enum):
    RED = "red"


class Part(BaseModel):
    since: datetime | None = None


class Thing(Record, collection="todos"):
    price: Decimal | None = None
    cents: Annotated[Decimal, PlainSerializer(float, when_used="json")] = Decimal(0)
    took: timedelta | None = None
    when: datetime | None = None
    daily: time | None = None
    address: IPv4Address | None = None
    color: Color = Color.RED
    secret: SecretStr | None = None
    part: Part | None = None
    prices: list[Decimal] = []
    tags: set[str] = set()
    number: int = 0


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ids(found: Any) -> list[str]:
    return [each.id for each in found]


def test_times_to_the_microsecond(session: Session) -> None:
    """With and without fractions, in one zone; every bound and every way to ask."""
    steps = [0, 1, 999, 1000, 1001, 100_000, 999_999, 1_000_000]
    session.save_all(
        Thing(id=f"t{n}", when=NOON + timedelta(microseconds=step)) for n, step in enumerate(steps)
    )
    for n, step in enumerate(steps):
        bound = NOON + timedelta(microseconds=step)
        everything = [f"t{each}" for each in range(len(steps))]
        assert ids(Thing.find(col(Thing.when) >= bound)) == everything[n:]
        assert ids(Thing.find(col(Thing.when) > bound)) == everything[n + 1 :]
        assert ids(Thing.find(col(Thing.when) <= bound)) == everything[: n + 1]
        assert ids(Thing.find(col(Thing.when) < bound)) == everything[:n]
        assert ids(Thing.find(Thing.when == bound)) == [f"t{n}"]
        assert Thing.find(Thing.when != bound).count() == len(steps) - 1


def test_times_that_others_wrote(session: Session) -> None:
    """Whatever form of a time in UTC, or in another zone: it is the time that counts."""
    forms = [
        "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z", "2026-03-01T12:00:00.000000Z",
        "2026-03-01T12:00:00+00:00", "2026-03-01T12:00:00.0+00:00", "2026-03-01T12:00Z",
        "2026-03-01 12:00:00Z", "2026-03-01T14:00:00+02:00", "2026-03-02T02:00:00+14:00",
        "2026-02-28T23:30:00-12:30",
    ]  # fmt: skip
    records = Collection(id="todos").records
    session.save_all(records.new(id=f"r{n:02}", when=form) for n, form in enumerate(forms))
    records.new(id="later", when="2026-03-01T12:00:00.001Z").save()
    records.new(id="no-time", when="zzz").save()
    records.new(id="naive", when="2026-03-01T12:00:00").save()
    same = [f"r{n:02}" for n in range(len(forms))]
    with session.scoped(collection="todos"):
        for bound in (NOON, NOON.astimezone(timezone(timedelta(hours=5)))):
            assert ids(Record.find(field("when") == bound)) == same
            assert ids(Record.find(field("when") <= bound)) == same
            assert ids(Record.find(field("when") < bound)) == []
            assert ids(Record.find(field("when") > bound)) == ["later"]
            assert Record.find(field("when") >= bound).count() == len(forms) + 1
            assert ids(Record.find(field("when").in_([bound, None]))) == same
        assert ids(Record.find(field("when") == datetime(2026, 3, 1, 12))) == ["naive"]
        assert ids(Record.find(field("when") >= datetime(2026, 3, 1))) == ["naive"]
        assert Record.find(field("when") < NOON + timedelta(1)).delete() == len(forms) + 1
        assert sorted(ids(Record.find())) == ["naive", "no-time"]


def test_the_first_and_the_last_year(session: Session) -> None:
    """There is no day before the first and none after the last."""
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for id, when in (("first", first), ("noon", NOON), ("z-last", last)):
        Thing(id=id, when=when).save()
    assert ids(Thing.find(col(Thing.when) >= first)) == ["first", "noon", "z-last"]
    assert ids(Thing.find(col(Thing.when) > first)) == ["noon", "z-last"]
    assert ids(Thing.find(col(Thing.when) < last)) == ["first", "noon"]
    assert ids(Thing.find(col(Thing.when).in_([first, last]))) == ["first", "z-last"]
    before = datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))
    with pytest.raises(InvalidData, match="UTC has no such time"):
        Thing.find(col(Thing.when) > before)


def test_decimals_of_any_number_of_digits(session: Session) -> None:
    """10 is 10.0 and 1E+1: where they are compared, in lists, and where none is to be one."""
    texts = ["10", "10.0", "1E+1", "10.5", "100", "1", "0", "0.00", "-10"]
    session.save_all(
        Thing(id=f"d{n}", price=Decimal(text), prices=[Decimal(text)])
        for n, text in enumerate(texts)
    )
    assert ids(Thing.find(Thing.price == Decimal("10.00"))) == ["d0", "d1", "d2"]
    assert Thing.find(Thing.price != Decimal(10)).count() == 6
    assert ids(Thing.find(col(Thing.price).in_([Decimal(10), Decimal("-0")]))) == [
        "d0", "d1", "d2", "d6", "d7",
    ]  # fmt: skip
    assert ids(Thing.find(col(Thing.prices).has(Decimal("1E+1")))) == ["d0", "d1", "d2"]
    assert Thing.find(Thing.price == Decimal("10.0")).delete() == 3
    assert Thing.find().count() == 6


def test_a_number_of_the_field_s_own(session: Session) -> None:
    """A Decimal that is stored as a number has its order, and the server applies it."""
    session.save_all(Thing(id=f"c{n:03}", cents=Decimal(n)) for n in (1, 9, 10, 100))
    found = Thing.find(Thing.cents > Decimal(5)).order_by(col(Thing.cents).desc())
    assert ids(found) == ["c100", "c010", "c009"]


REFUSED: dict[str, Any] = {
    "decimal": (lambda: Thing.price > Decimal(5), "cents"),
    "timedelta": (lambda: Thing.took >= timedelta(seconds=10), "seconds"),
    "address": (lambda: Thing.address < IPv4Address("10.0.0.9"), "order"),
    "time with a zone": (lambda: Thing.daily < time(12, tzinfo=UTC), "order"),
    "enum": (lambda: Thing.color < Color.RED, "in_"),  # type: ignore[operator]
    "secret": (lambda: Thing.secret == SecretStr("s3cret"), "asterisks"),
    "order by decimal": (lambda: Thing.find().order_by(Thing.price), "cents"),
    "order by timedelta": (lambda: Thing.find().order_by(col(Thing.took).desc()), "seconds"),
    "order by address": (lambda: Thing.find().order_by(Thing.address), "sort in Python"),
    "a decimal of no model": (lambda: field("price") == Decimal("1.50"), r"1\.5 or .*'1\.50'"),
    "its order": (lambda: field("price") > Decimal("1.50"), r"1\.5 or"),
    "among several": (lambda: field("price").in_([1, Decimal(2)]), "a number"),
    "a time span of no model": (lambda: field("took") > timedelta(seconds=1), "order"),
    "a whole part": (lambda: Thing.part == Part(since=NOON), "fields inside"),
    "a list of decimals": (lambda: Thing.prices == [Decimal(1)], "fields inside"),
    "a date for a datetime": (lambda: Thing.when == date(2026, 1, 1), "cannot be compared"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_would_be_answered_wrongly_is_refused(wire: Wire, make: Any, message: str) -> None:
    """Before anything is sent; the error says what to write instead and shows no secret."""
    with pytest.raises(InvalidData, match=message) as caught:
        make()
    assert "s3cret" not in str(caught.value)
    assert wire.methods == []


def test_a_set_has_no_order(session: Session) -> None:
    """Its array may be stored in any order; whole sets are compared as sets."""
    records = Collection(id="todos").records
    for id, tags in (("ab", ["a", "b"]), ("ba", ["b", "a"]), ("abc", ["a", "b", "c"])):
        records.new(id=id, tags=tags).save()
    assert ids(Thing.find(Thing.tags == {"a", "b"})) == ["ab", "ba"]
    assert ids(Thing.find(Thing.tags != {"a", "b"})) == ["abc"]


def test_true_is_one_for_an_integer(session: Session) -> None:
    """As in Python, where the field holds no booleans."""
    Thing(id="one", number=1).save()
    assert ids(Thing.find(Thing.number == True)) == ["one"]
    assert ids(Thing.find(col(Thing.number).in_([True, 5]))) == ["one"]


def test_the_server_leaves_out_most(wire: Wire) -> None:
    """It is asked for a day more on each side; a count fetches what is compared."""
    days = [NOON + timedelta(days=n) for n in range(-50, 50)]
    wire.session.save_all(Thing(id=f"d{n:03}", when=day) for n, day in enumerate(days))
    wire.clear()
    assert Thing.find(Thing.when == NOON).count() == 1
    assert wire.methods == ["GET"]
    assert "_fields=id%2Cwhen" in wire.last.path_url
    assert ids(Thing.find(col(Thing.when) > NOON).only("number"))[:1] == ["d051"]
    wire.clear()
    # Those that are left out here do not make the pages of a small limit small.
    assert ids(Thing.find(col(Thing.when) > NOON).limit(2)) == ["d051", "d052"]
    assert wire.methods == ["GET"]


def test_a_limit_in_another_order_leaves_its_place(session: Session) -> None:
    """The position inside of a page goes on with the next object, whatever size pages have then."""
    times = [NOON + timedelta(hours=n) for n in range(-30, 30)]
    session.save_all(Thing(id=f"t{n:02}", when=at, number=-n) for n, at in enumerate(times))
    query = Thing.find(col(Thing.when) > NOON).order_by(Thing.number)
    expected = [f"t{n}" for n in range(59, 30, -1)]
    for size in (7, 1000):
        page, *more = query.page_size(size).limit(5).pages()
        assert ids(page) == expected[:5]
        assert more == []
        for other in (1, 3, 1000):
            rest = query.page_size(other).resume(page.position)
            assert ids(rest) == expected[5:]
            assert ids(rest.limit(4)) == expected[5:9]


def test_what_does_not_meet_a_condition_is_not_loaded(session: Session) -> None:
    """An object that does not fit the model, and is not meant, is in nobody's way."""
    records = Collection(id="todos").records
    records.new(id="odd", when=str(NOON), number="many").save()
    Thing(id="fine", when=NOON + timedelta(seconds=1)).save()
    assert ids(Thing.find(col(Thing.when) > NOON)) == ["fine"]


def test_partial_objects_have_only_what_was_asked_for(session: Session) -> None:
    """Not the fields that were fetched to be compared."""
    Thing(id="x", when=NOON, number=3).save()
    [thing] = Thing.find(Thing.when == NOON).only("number")
    assert thing.number == 3
    assert not hasattr(thing, "when")
    assert "when" not in thing


def test_deleting_by_time_leaves_what_was_changed_meanwhile(
    proxy: FaultyServer, wire: Wire
) -> None:
    """What somebody moves out of the condition after it was read stays."""
    wire.session.save_all(Thing(id=f"t{n}", when=NOON) for n in range(5))

    def overtaken(exchange: Any) -> None:
        moved = Thing.get("t3", session=wire.session)
        moved.when = NOON + timedelta(hours=1)
        moved.save()
        exchange.write(*exchange.forward())

    with Session(proxy.url, auth="alice:s3cret", bucket=wire.session.bucket):
        proxy.answers.extend([passed_on, overtaken])
        assert Thing.find(Thing.when == NOON).delete() == 4
    assert ids(Thing.find()) == ["t3"]
