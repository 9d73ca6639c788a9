"""Typed conditions, orders and pages from end to end: what is found is what Python would find."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import pytest
from pydantic import AliasGenerator, AliasPath, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from conftest import Backend, Wire
from kinto_orm import (
    Bucket,
    Collection,
    InvalidData,
    NotLoaded,
    Record,
    Session,
    col,
    field,
)
from kinto_orm.server import EmbeddedServer, open_memory, serve


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Address(BaseModel):
    city: str
    zip_code: str | None = None


class Item(Record, collection="items"):
    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=to_camel, serialization_alias=to_camel)
    )

    title: str
    item_count: int = 0
    unit_price: Decimal = Decimal("1.0")
    made_on: date | None = None
    sold_at: datetime | None = None
    color: Color = Color.RED
    level: Level = Level.LOW
    owner: UUID | None = None
    home_address: Address | None = None
    tag_list: list[str] = []
    colors: set[Color] = set()
    in_stock: bool = True
    min_age: int | None = None
    nick: str | None = Field(
        default=None, validation_alias="nick-name", serialization_alias="nick-name"
    )


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWNER = UUID(int=7)


def items() -> list[Item]:
    return [
        Item(
            id=f"i{n}",
            title=f"Item {n}, {'é' if n % 2 else 'e'}",
            item_count=n,
            unit_price=Decimal(n) / 4,
            made_on=None if n % 4 == 3 else date(2026, 1, 1 + n),
            sold_at=None if n % 3 == 2 else NOON + timedelta(hours=n),
            color=Color.BLUE if n % 3 == 0 else Color.RED,
            level=Level.HIGH if n > 5 else Level.LOW,
            owner=OWNER if n == 4 else None,
            home_address=None if n % 5 == 4 else Address(city="Lyon" if n < 4 else "Metz"),
            tag_list=["a", "b,c"][: n % 3],
            colors={Color.BLUE} if n % 2 else set(),
            in_stock=n % 2 == 0,
            min_age=None if n < 3 else n * 2,
            nick=None if n < 8 else f"n{n}",
        )
        for n in range(10)
    ]


@pytest.fixture(scope="module")
def stock(backend: Backend) -> Iterator[Session]:
    """A session with ten items."""
    with backend.session(bucket=backend.new_id("stock")) as session:
        Bucket(id=session.bucket).save().collections.new(id="items").save()
        session.save_all(items())
    with backend.session(bucket=session.bucket) as session:
        yield session


CONDITIONS: dict[str, tuple[Callable[[], Any], Callable[[Item], bool]]] = {
    "alias": (lambda: Item.item_count >= 7, lambda i: i.item_count >= 7),
    "alias, equality": (lambda: Item.item_count == 3, lambda i: i.item_count == 3),
    "alias with a dash": (lambda: Item.nick == "n9", lambda i: i.nick == "n9"),
    "decimal": (
        lambda: Item.unit_price == Decimal("0.75"),
        lambda i: i.unit_price == Decimal("0.75"),
    ),
    "date": (
        lambda: col(Item.made_on) < date(2026, 1, 4),
        lambda i: i.made_on is not None and i.made_on < date(2026, 1, 4),
    ),
    "date, None": (lambda: col(Item.made_on).eq(None), lambda i: i.made_on is None),
    "date, not None": (lambda: Item.made_on != None, lambda i: i.made_on is not None),  # noqa: E711
    "datetime": (
        lambda: col(Item.sold_at) >= NOON + timedelta(hours=6),
        lambda i: i.sold_at is not None and i.sold_at >= NOON + timedelta(hours=6),
    ),
    "enum": (lambda: Item.color == Color.BLUE, lambda i: i.color is Color.BLUE),
    "enum, not": (lambda: Item.color != Color.BLUE, lambda i: i.color is not Color.BLUE),
    "enum in": (lambda: col(Item.color).in_([Color.BLUE]), lambda i: i.color is Color.BLUE),
    "int enum": (lambda: Item.level == Level.HIGH, lambda i: i.level is Level.HIGH),
    "int enum, order": (lambda: Item.level > Level.LOW, lambda i: i.level > Level.LOW),
    "uuid": (lambda: col(Item.owner).eq(OWNER), lambda i: i.owner == OWNER),
    "bool": (lambda: Item.in_stock == False, lambda i: not i.in_stock),
    "optional int": (
        lambda: col(Item.min_age) > 9,
        lambda i: i.min_age is not None and i.min_age > 9,
    ),
    "nested": (
        lambda: col(Item.home_address)["city"] == "Lyon",
        lambda i: i.home_address is not None and i.home_address.city == "Lyon",
    ),
    "nested, not": (
        lambda: col(Item.home_address)["city"] != "Lyon",
        lambda i: i.home_address is None or i.home_address.city != "Lyon",
    ),
    "nested, there": (
        lambda: col(Item.home_address)["city"].exists(),
        lambda i: i.home_address is not None,
    ),
    "whole object": (
        lambda: col(Item.home_address).eq(Address(city="Metz")),
        lambda i: i.home_address == Address(city="Metz"),
    ),
    "has": (lambda: col(Item.tag_list).has("b,c"), lambda i: "b,c" in i.tag_list),
    "has any": (
        lambda: col(Item.tag_list).has_any(["a", "zz"]),
        lambda i: bool({"a", "zz"} & {*i.tag_list}),
    ),
    "has an enum": (
        lambda: col(Item.colors).has(Color.BLUE),
        lambda i: Color.BLUE in i.colors,
    ),
    "like": (lambda: col(Item.title).like("item 3*"), lambda i: i.title.startswith("Item 3")),
    "like, Unicode": (lambda: col(Item.title).like("é"), lambda i: "é" in i.title),
    "comma": (
        lambda: col(Item.title).in_(["Item 1, é", "Item 2, e"]),
        lambda i: i.item_count in (1, 2),
    ),
    "id": (lambda: col(Item.id).in_(["i1", "i2", "nobody"]), lambda i: i.id in ("i1", "i2")),
    "id order": (lambda: Item.id > "i7", lambda i: i.id > "i7"),
}


@pytest.mark.parametrize(("condition", "test"), CONDITIONS.values(), ids=list(CONDITIONS))
def test_a_condition_finds_what_python_finds(
    stock: Session, condition: Callable[[], Any], test: Callable[[Item], bool]
) -> None:
    """Each type is compared in the form in which it is stored."""
    expected = [each for each in items() if test(each)]
    assert expected, "the condition has to meet something"
    found = Item.find(condition(), session=stock)
    assert [each.id for each in found] == [each.id for each in expected]
    assert found.count() == len(expected)
    assert [each.title for each in found.page_size(2)] == [each.title for each in expected]


def test_conditions_are_joined_by_and(stock: Session) -> None:
    """All that are given must hold; several may be on one field, across pages too."""
    query = Item.find(Item.item_count > 1, Item.item_count < 8, session=stock).where(
        Item.item_count != 4, Item.item_count != 6, Item.in_stock == True
    )
    assert [each.item_count for each in query] == [2]
    several = Item.find(Item.item_count != 4, Item.item_count != 6, session=stock).page_size(3)
    assert [each.item_count for each in several] == [0, 1, 2, 3, 5, 7, 8, 9]


def test_last_modified(stock: Session) -> None:
    """A condition on last_modified finds objects and no tombstones."""
    middle = stock.get(Item, "i5")
    newer = Item.find(col(Item.last_modified) > middle.last_modified, session=stock)
    assert [each.id for each in newer] == ["i6", "i7", "i8", "i9"]


# What is no condition


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "or": (
        lambda: (Item.title == "a") | (Item.title == "b"),
        TypeError,
        r"write any_of.*in_",
    ),
    "and": (lambda: Item.title == "a" and Item.item_count == 1, TypeError, r"find\(x > 1, x < 3\)"),
    "&": (lambda: (Item.title == "a") & (Item.item_count == 1), TypeError, r"find\(a, b\)"),
    "not": (lambda: not Item.title.eq("a"), TypeError, "no truth value"),
    "~": (lambda: ~(Item.title == "a"), TypeError, r"!=, not_in or exists\(False\)"),
    "chained": (lambda: 1 < Item.item_count < 3, TypeError, r"find\(x > 1, x < 3\)"),
    "in": (lambda: "a" in Item.tag_list, TypeError, r"has\('a'\)"),
    "a bare field": (lambda: bool(Item.in_stock), TypeError, "compare it, as in .* == True"),
    "misspelt": (lambda: Item.titel == "a", AttributeError, "titel"),
    "misspelt, untyped": (lambda: Item.find(field("titel") == "a"), InvalidData, "titel"),
    "python name as stored": (
        lambda: Item.find(field("item_count") == 1),
        InvalidData,
        "itemCount",
    ),
    "a dot": (lambda: field("a.b"), InvalidData, r'field\("a"\)\["b"\]'),
    "order of lists": (lambda: col(Item.tag_list) > ["a"], InvalidData, "cannot be ordered"),
    "order of nothing": (lambda: col(Item.min_age) > None, InvalidData, "cannot be ordered"),
    "dash": (lambda: col(Item.nick).in_(["a", "b"]), InvalidData, "only ask for equality"),
    "dash, order": (lambda: Item.find().order_by(Item.nick).all(), InvalidData, "cannot sort"),
}


@pytest.mark.parametrize(("act", "error", "message"), MISTAKES.values(), ids=list(MISTAKES))
def test_mistakes_say_what_to_write(
    stock: Session, act: Callable[[], Any], error: type[Exception], message: str
) -> None:
    """What the server cannot be asked is an error with the remedy, before anything is sent."""
    with pytest.raises(error, match=message):
        act()


# Order


ORDERS: dict[str, tuple[Callable[[], Any], Callable[[Item], Any]]] = {
    "alias": (lambda: [Item.item_count], lambda i: i.item_count),
    "descending": (lambda: [col(Item.item_count).desc()], lambda i: -i.item_count),
    "two": (
        lambda: [Item.color, col(Item.item_count).desc()],
        lambda i: (i.color.value, -i.item_count),
    ),
    "bool, then id": (
        lambda: [col(Item.in_stock).desc(), Item.id],
        lambda i: (not i.in_stock, i.id),
    ),
    "null first": (
        lambda: [Item.made_on, Item.id],
        lambda i: (i.made_on or date(1, 1, 1), i.id),
    ),
    "nested": (
        lambda: [col(Item.home_address)["city"], Item.id],
        lambda i: ("~" if i.home_address is None else i.home_address.city, i.id),
    ),
}


@pytest.mark.parametrize(("orders", "key"), ORDERS.values(), ids=list(ORDERS))
def test_order(stock: Session, orders: Callable[[], Any], key: Callable[[Item], Any]) -> None:
    """Objects come in the order asked for, whole or page by page, from any position."""
    expected = [each.id for each in sorted(items(), key=key)]
    query = Item.find(session=stock).order_by(*orders())
    assert [each.id for each in query] == expected
    pages = list(query.page_size(3).pages())
    assert [each.id for page in pages for each in page] == expected
    rest = query.page_size(3).resume(pages[1].position)
    assert [each.id for each in rest] == expected[6:]
    assert query.first() == stock.get(Item, expected[0])


# Some fields


def test_only_by_alias(stock: Session) -> None:
    """Fields with other stored names are loaded under their own, with their own types."""
    query = Item.find(Item.id == "i6", session=stock)
    item = query.only(Item.item_count, "made_on", col(Item.color), "home_address").one()
    assert (item.item_count, item.made_on, item.color) == (6, date(2026, 1, 7), Color.BLUE)
    assert item.home_address == Address(city="Metz")
    assert not hasattr(item, "title")
    with pytest.raises(NotLoaded):
        item.save()
    assert item.refresh().title == "Item 6, e"
    with pytest.raises(NotLoaded):
        query.only(Item.in_stock).one().title


def test_a_field_inside_another_one_brings_the_whole(stock: Session) -> None:
    """only() of a nested field loads the field that it stands in."""
    item = Item.find(Item.id == "i1", session=stock).only(col(Item.home_address)["city"]).one()
    assert item.home_address == Address(city="Lyon")


def test_a_model_that_reads_from_inside(session: Session) -> None:
    """A field that is validated from a path inside another one is loaded whole."""
    Collection.get("todos").records.new(id="x", meta={"name": "deep"}).save()

    class Deep(Record, collection="todos"):
        name: str = Field(validation_alias=AliasPath("meta", "name"), serialization_alias="name")

    assert Deep.find().one().name == "deep"


# Pages


def ids(found: Any) -> list[str]:
    return [each.id for each in found]


@pytest.fixture
def paged() -> Iterator[Session]:
    """The current session, on a server whose pages have five records, with 23 items."""
    with (
        open_memory(settings={"kinto.paginate_by": "5"}) as embedded,
        serve(embedded) as http,
        Session(http.url, auth=embedded.auth, bucket="b") as session,
    ):
        session.sync_schema(Item)
        session.save_all(Item(id=f"i{n:02}", title="x", item_count=n) for n in range(23))
        yield session


def test_a_server_with_small_pages(paged: Session) -> None:
    """However small the server's pages are: all objects come, and a limit is kept."""
    everything = [f"i{n:02}" for n in range(23)]
    assert ids(Item.find().all()) == everything
    for most in (1, 4, 5, 6, 12, 22, 23, 24):
        assert ids(Item.find().limit(most)) == everything[:most]
        descending = Item.find().order_by(col(Item.id).desc()).limit(most)
        assert ids(descending.all()) == everything[::-1][:most]
    assert [len(page) for page in Item.find().limit(12).pages()] == [5, 5, 2]
    assert Item.find().count() == 23
    assert len(paged.get_many(Item, everything)) == 23
    assert len(list(Item.find().changes())) == 23
    assert Item.find(Item.item_count < 17).delete() == 17
    assert ids(Item.find()) == everything[17:]


def test_a_limit_leaves_the_right_position(paged: Session) -> None:
    """The position after a limit goes on with the next object, and limits anew."""
    first = list(Item.find().limit(7).pages())
    assert ids(each for page in first for each in page) == [f"i{n:02}" for n in range(7)]
    rest = Item.find().resume(first[-1].position).limit(4)
    assert ids(rest) == ["i07", "i08", "i09", "i10"]


@pytest.mark.parametrize("position", ["", "x", "_sort=id", "https://evil.example/?a=b"])
def test_what_is_no_position(position: str) -> None:
    """A text that is no position is refused before anything is sent."""
    with pytest.raises(InvalidData, match="no position"):
        Item.find().resume(position)


def test_the_next_page_is_fetched_ahead(wire: Wire) -> None:
    """While one page is worked on the next one is on its way, and no more than that."""

    class Todo(Record, collection="todos"):
        n: int = 0

    wire.session.save_all(Todo(id=f"t{n}", n=n) for n in range(10))
    wire.clear()
    pages = Todo.find().page_size(2).pages()
    assert wire.methods == []
    for number in range(1, 6):
        next(pages)
        arrived = threading.Event()
        for _ in range(400):
            if len(wire.requests) == min(number + 1, 5):
                break
            arrived.wait(0.01)
        assert len(wire.requests) == min(number + 1, 5)
    assert list(pages) == []


def test_iteration_while_threads_write(postgres: EmbeddedServer) -> None:
    """While four others write on PostgreSQL, no object is skipped and none is repeated."""

    class Todo(Record, collection="todos"):
        n: int = 0

    stop = threading.Event()

    def disturb(number: int) -> None:
        for turn in range(10_000):
            if stop.is_set():
                return
            Todo(id=f"t{(turn * 7 + number) % 60:03}", n=turn).save(force=True, session=session)
            Todo(id=f"x{number}-{turn}").save(session=session).delete()

    with (
        serve(postgres, threads=8) as http,
        Session(http.url, auth=postgres.auth, bucket="iterated") as session,
    ):
        session.sync_schema(Todo)
        stays = [f"t{n:03}" for n in range(60)]
        session.save_all(Todo(id=id) for id in stays)
        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(disturb, n) for n in range(4)]
            try:
                for size in (3, 7, 20):
                    found = ids(Todo.find(session=session).page_size(size))
                    assert len(found) == len(set(found))
                    assert [id for id in found if id in stays] == stays
            finally:
                stop.set()
            for each in writers:
                each.result()


def test_a_value_of_another_type_is_explained() -> None:
    """By the field and its type, not by what Pydantic's serializer says."""
    with pytest.raises(InvalidData, match=r"'many' cannot be compared with Item\.item_count.*int"):
        Item.find(Item.item_count == "many")  # type: ignore[comparison-overlap]
