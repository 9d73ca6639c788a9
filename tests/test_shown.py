"""What objects look like: reprs that fit a line, tables in notebooks and by Rich; no secrets."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr, computed_field
from rich.console import Console

import kinto_orm
from conftest import Wire
from kinto_orm import (
    Account,
    AsyncSession,
    BatchError,
    BearerAuth,
    Bucket,
    Collection,
    Conflict,
    Created,
    Deleted,
    Deletion,
    Failure,
    Group,
    HistoryEntry,
    Interrupted,
    KintoError,
    Link,
    Outcome,
    PermissionEntry,
    Permissions,
    Record,
    Reply,
    RequestEvent,
    RestorePlan,
    Retry,
    SchemaChange,
    Session,
    SessionMiddleware,
    Summary,
    SyncChange,
    SyncPlan,
    Template,
    Tombstone,
    Updated,
    any_of,
    col,
    field,
)
from kinto_orm._shown import LINE, MOST_COLUMNS, MOST_ROWS, Differences, Rows, Shown, printable
from kinto_orm.kv.history import KeysAt, KeyVersion
from kinto_orm.queries.marks import Mark
from kinto_orm.queries.pager import Page

SECRET = "s3cret-p4ssw0rd"
# Each of them would do something, if it were taken for more than text.
HOSTILE = "<script>alert('&amp;')</script>[bold red]x[/] :smile: \x1b[31m\n\r\t\u202e\ud800"
LONG = HOSTILE * 100
# Kinto stores no half of a letter, so that nobody can ask for one.
ASKED = LONG.replace("\ud800", "")
NOW = datetime(2026, 11, 30, tzinfo=UTC)


class Author(Record, collection="authors"):
    name: str = ""


class Inner(BaseModel):
    text: str = LONG
    hidden: str = Field(default=SECRET, repr=False)


class Todo(Record, collection="todos"):
    title: str = ""
    inner: Inner | None = None
    tags: list[str] = []
    author: Link[Author] | None = None
    token: SecretStr | None = None
    hidden: str = Field(default="", repr=False)
    key: str = Field(default="", alias="api-key", repr=False)


def full(id: str = "a") -> Todo:
    """A todo that is as large, as hostile and as secret as one can be."""
    return Todo(
        id=id,
        title=LONG,
        inner=Inner(),
        tags=[LONG] * 1000,
        author="ada",
        token=SecretStr(SECRET),
        hidden=SECRET,
    )


def conflict(**sides: Any) -> Conflict:
    """One that shows these objects."""
    made = Conflict(LONG, status=412)
    vars(made).update(sides)
    return made


def errors() -> Iterator[Any]:
    """One of each class."""
    for name in kinto_orm.__all__:
        kind = getattr(kinto_orm, name)
        if kind is BatchError:
            yield BatchError(LONG, [KintoError(LONG)] * 1000)
        elif isinstance(kind, type) and issubclass(kind, KintoError):
            yield kind(LONG)


def summaries() -> Iterator[Any]:
    """Of much that was done, and much that failed."""
    failed = [Failure(full(), KintoError(LONG))] * 1000
    changes = [SyncChange("update", LONG, (LONG,) * 100)] * 1000
    yield from (failed[0], changes[0], Outcome("save", full(), error=KintoError(LONG)))
    yield Summary(created=5, failed=failed, stopped=KintoError(LONG))
    yield SyncPlan(failed=failed, changes=changes, left=[LONG] * 100, model="Todo", kept=9)
    yield RestorePlan(failed=failed, changes=changes, unknown=[LONG] * 100, bucket="b", when=5)
    yield Interrupted(Summary(failed=failed))


def sessions() -> Iterator[Any]:
    """Sessions, and what is reached over them; nothing is sent."""
    url = f"https://alice:{SECRET}@kinto.example/v1"
    for kind in (Session, AsyncSession):
        session = kind(url, auth=("alice", SECRET), bucket="work")
        batch = session.batch()
        for _ in range(100):
            batch.save(full())
        yield from (session, batch, batch.outcomes[0], session.kv, batch.kv)
    yield from (SessionMiddleware(print, session=session), BearerAuth(SECRET), Retry())
    yield Todo.find(Todo.title == ASKED, any_of(col(Todo.id).in_([ASKED] * 50), Todo.title > "a"))
    yield Todo.find(session=session).order_by(Todo.title).limit(5).only(Todo.title)
    yield from (Todo.title == ASKED, any_of(Todo.title == ASKED, Todo.id == "x"), Todo.title)
    yield field(ASKED)


def values() -> Iterator[Any]:
    """What a server's answers are made to."""
    yield from (
        full(),
        Todo().permissions,
        Permissions(read={LONG}, write={str(n) for n in range(999)}),
    )
    yield Record(**{f"field{n}": LONG for n in range(100)})
    yield from (
        Account(id="alice", password=SECRET),
        Bucket(id="b"),
        Template(name="n", source=LONG),
    )
    yield from (Collection(id="c", bucket="b"), Group(id="g", bucket="b", members=[LONG] * 1000))
    yield from (
        full().author,
        Tombstone("a", 5),
        Reply(200, {"Set-Cookie": SECRET}, LONG.encode("utf-8", "surrogatepass")),
    )
    yield Deletion("a", full(), NOW, LONG, 5)
    yield HistoryEntry(
        date=NOW, action="update", object_uri=LONG, user_id=LONG, resource_name="record",
        target={"data": {LONG: [LONG] * 1000}},
    )  # fmt: skip
    yield PermissionEntry(uri=LONG, resource_name="record", permissions=[LONG] * 1000)
    yield RequestEvent("GET", LONG, LONG, LONG, 1, 200, 0.5, 1, 2, KintoError(LONG))
    yield SchemaChange("Todo", LONG, LONG, added=[LONG] * 1000)
    yield from (
        KeyVersion(LONG, True, NOW, LONG, 5),
        KeysAt({LONG + str(n): LONG for n in range(99)}, list),
    )
    mark = Mark(0, 0)
    yield from (kind("a", 5, full(), mark, [], 0) for kind in (Created, Updated))
    yield Deleted("a", 5, None, mark, [], 0)
    yield kinto_orm.ServerInfo(settings={LONG: LONG}, user={"id": LONG})
    yield from (conflict(base=full(), local=full(), remote=full()), conflict(local=full()))


LISTS = [
    Rows([full(f"{n}") for n in range(100)]),
    Page([full()], "position"),
    kinto_orm.SchemaPlan([SchemaChange("Todo", "b", "c", added=[LONG])]),
    Differences({LONG: (LONG, [LONG] * 1000)}),
]
SHOWN = [*errors(), *summaries(), *sessions(), *values()]


def html_of(shown: Any) -> str:
    return str(shown._repr_html_())


def by_rich(shown: Any) -> str:
    """What Rich prints at a terminal with colours."""
    file = io.StringIO()
    Console(file=file, width=200, force_terminal=True, color_system="truecolor").print(shown)
    return file.getvalue()


class Parsed(HTMLParser):
    """The tags of HTML, and what is between them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert attrs in ([], [("style", "text-align: left")])

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def named(shown: object) -> str:
    return type(shown).__name__


def test_every_public_class_is_looked_at() -> None:
    """What is added to the public names is added here."""
    kinds = {
        name: value
        for name in kinto_orm.__all__
        if isinstance(value := getattr(kinto_orm, name), type)
    }
    seen = [*SHOWN, *LISTS]
    missing = {
        name for name, kind in kinds.items() if not any(isinstance(each, kind) for each in seen)
    }
    assert missing <= {"Authenticated", "Everyone"}


@pytest.mark.parametrize("shown", SHOWN, ids=named)
def test_a_repr_fits_a_line(shown: object) -> None:
    """Whatever the object holds; it says its class or what it is, and no secret."""
    said = repr(shown)
    assert 0 < len(said) <= LINE
    assert said.isprintable()
    assert SECRET not in said


@pytest.mark.parametrize(
    "shown", [each for each in [*SHOWN, *LISTS] if isinstance(each, Shown)], ids=named
)
def test_a_table_is_bounded_and_shows_no_secret(shown: Shown) -> None:
    """Of a thousand objects with a thousand values as well; hostile texts are texts."""
    html, drawn = html_of(shown), by_rich(shown)
    assert len(html) < 60_000
    assert SECRET not in html + drawn
    assert Parsed(html).tags <= {"div", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert "\x1b[31m" not in drawn
    assert "😄" not in drawn
    table = shown.__kinto_table__()
    assert len(table.rows) <= MOST_ROWS
    assert len(table.columns) <= MOST_COLUMNS


class Free(Record, collection="free"):
    text: str = ""
    any: Any = None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([HOSTILE, "[b]x[/b]"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.text() | st.sampled_from([HOSTILE, "</td><script>", "[link=x]y[/link]"]), JSON)
def test_a_value_is_shown_as_text(text: str, value: Any) -> None:
    """No value is taken for HTML, nor for the markup of a console; and it is all there."""
    todo = Free(text=text, any=value)
    assert repr(todo).isprintable()
    said = printable(text)
    parsed = Parsed(html_of(Rows([todo])))
    assert parsed.tags == {"div", "b", "table", "thead", "tbody", "tr", "th", "td"}
    if len(said) <= 40:
        assert said in [*parsed.texts, ""]
        plain = Console(file=io.StringIO(), width=200, color_system=None)
        plain.print(todo)
        assert said in plain.file.getvalue()  # type: ignore[attr-defined]


def test_a_table_says_what_it_leaves_out() -> None:
    """Rows and columns that are too many are counted; the columns are named."""
    many = Rows(Record(id=f"r{n}", **{f"f{m}": m for m in range(20)}) for n in range(100))
    table = many.__kinto_table__()
    assert table.title == "Record: 100"
    assert table.notes == (
        "and 80 more rows",
        "and 10 more columns: f10, f11, f12, f13, f14, f15, f16, f17, f18, f19",
    )
    assert table.rows[0][:3] == ("r0", "None", "0")
    assert Rows().__kinto_table__().title == "nothing"


def test_a_table_has_a_column_for_what_some_have() -> None:
    """Records with different fields stand below each other."""
    table = Rows([Record(id="a", x=1), Record(id="b", y="2")]).__kinto_table__()
    assert table.columns == ("id", "last_modified", "x", "y")
    assert table.rows == (("a", "None", "1", ""), ("b", "None", "", "2"))


def test_a_conflict_shows_the_three_sides() -> None:
    """What both changed comes first, and is marked; what is the same is counted."""
    base = Free(id="a", text="base")
    made = conflict(base=base, local=Free(id="a", text="l"), remote=Free(id="a", text="r", any=1))
    made.fields = frozenset({"text"})
    table = made.__kinto_table__()
    assert table.columns == ("field", "base", "local", "remote")
    assert table.rows == (("! text", "base", "l", "r"), ("any", "None", "None", "1"))
    assert table.marked == {0}
    assert table.notes[0] == "2 fields are the same"
    assert "<th" in html_of(made).partition("! text")[0]


def test_what_differs_in_its_type_only_is_shown() -> None:
    """1 and True are equal to Python."""
    made = conflict(base=Free(id="a", any=1), local=Free(id="a", any=True), remote=None)
    assert made.__kinto_table__().rows == (("any", "1", "True"),)


def test_a_diff_is_a_dict_that_is_shown() -> None:
    """It is what it was, and a table in a notebook."""
    diff = Free(id="a", text="x").diff()
    assert diff == {"text": (None, "x"), "any": (None, None)}
    assert isinstance(diff, dict)
    assert diff.__kinto_table__().rows[0] == ("text", "None", "x")  # type: ignore[attr-defined]


def test_a_diff_shows_no_secret() -> None:
    """It has the values of hidden fields, and does not print them."""
    diff = Todo(id="a", title="x", hidden=SECRET, key=SECRET).diff()
    assert diff["hidden"] == (None, SECRET)
    assert SECRET not in repr(diff) + html_of(diff) + by_rich(diff)
    assert "'hidden': (None, ...)" in repr(diff)
    assert repr(Free(id="a", text="x").diff()) == "{'text': (None, 'x'), 'any': (None, None)}"


class Dashed(Record, collection="todos"):
    due_on: str = Field(default="", alias="due-on")


def test_a_diff_names_fields_as_python_does(session: Session) -> None:
    """Of a new object, too."""
    todo = Dashed(id="a", due_on="x")
    assert todo.diff() == {"due_on": (None, "x")}
    todo.save().due_on = "y"
    assert todo.diff() == {"due_on": ("x", "y")}


def test_a_query_is_shown_without_asking(blocking_wire: Wire) -> None:
    """A cell that ends with a query sends nothing, and says how to ask."""
    query = Todo.find(Todo.title == "x").order_by(Todo.title).limit(5).only(Todo.title)
    table = query.__kinto_table__()
    assert table.rows == (
        ("where", 'eq_title="x"'),
        ("order", "title"),
        ("limit", "5"),
        ("only", "id, last_modified, title"),
    )
    assert "limit(20).all()" in html_of(query)
    assert "limit(20).all()" in by_rich(query)
    assert not blocking_wire.requests
    assert Todo.find().order_by(Todo.title).__kinto_table__().title.startswith("a query of Todo")


def test_what_was_found_is_a_list_that_is_shown(session: Session) -> None:
    """It is the list that it was: all() and pages."""
    Todo(id="a", title="x").save()
    found = Todo.find().all()
    [page] = Todo.find().pages()
    assert isinstance(found, list)
    assert repr(found) == f"[{found[0]!r}]"
    for each in (found, page):
        assert each.__kinto_table__().rows[0][0] == "a"  # type: ignore[attr-defined]
    with session.batch() as batch:
        batch.save(Todo(id="b"))
    assert batch.outcomes.__kinto_table__().rows[0][-1] == "created"  # type: ignore[attr-defined]
    assert repr(batch) == "<Batch of 1 operations, 0 to be sent>"


async def test_what_was_found_by_awaiting_is_shown() -> None:
    """The twins give the same."""
    async with AsyncSession("memory://"):
        await Todo(id="a", title="x").asave()
        found = await Todo.find().aall()
    assert found.__kinto_table__().rows[0][0] == "a"  # type: ignore[attr-defined]


def test_a_summary_shows_failures_first() -> None:
    """Then what was changed; and the counts above."""
    plan = SyncPlan(model="Todo", updated=1, dry_run=True, kept=3)
    plan.changes.append(SyncChange("update", "a", ("title", "done")))
    plan.failed.append(Failure("b", KintoError("no")))
    table = plan.__kinto_table__()
    assert table.title == "Todo: 1 updated, 1 failed (a dry run: nothing was written)"
    assert table.rows == (("! failed", "b", "KintoError: no"), ("update", "a", "title, done"))
    assert table.notes == ("3 not deleted, because something failed",)
    assert repr(plan) == f"<SyncPlan {table.title}>"


class Computed(Record, collection="todos"):
    title: str
    prio: int = 0
    hidden: str = Field(default=SECRET, repr=False)

    @computed_field
    @property
    def shout(self) -> str:
        return self.title.upper()


def test_what_was_not_loaded_can_be_shown(session: Session) -> None:
    """A computed field of an object with some fields only has nothing to be computed of."""
    Computed(id="a", title="x").save()
    [found] = Computed.find().only("prio", "hidden").all()
    stamp = found.last_modified
    assert repr(found) == f"Computed(id='a', last_modified={stamp}, prio=0, shout=<NotLoaded>)"
    assert str(found) == f"id='a' last_modified={stamp} prio=0 shout=<NotLoaded>"
    assert "&lt;NotLoaded&gt;" in html_of(found)
    assert repr(Computed.get("a")).endswith("title='x', prio=0, shout='X')")


def test_rich_shows_objects_inside_of_others_in_a_line() -> None:
    """A list of records is a list of short reprs, without markup."""
    drawn = by_rich({"todo": [Free(id="a", text="[bold]x[/]" * 100)]})
    assert "[bold]x[/]" in "".join(part.partition("m")[2] for part in drawn.split("\x1b["))
    assert len(drawn) < 1000


def test_printing_a_record_shows_all_of_it() -> None:
    """Only the repr is cut."""
    assert "x" * 1000 in str(Free(text="x" * 1000))


def test_rich_is_loaded_by_those_who_draw_with_it() -> None:
    """Neither reprs nor notebooks import it."""
    code = (
        "import sys; from kinto_orm import *\n"
        "with Session('memory://', collection='c'):\n"
        "    todo = Record(title='x').save()\n"
        "    repr(todo); todo._repr_html_(); Record.find().all()._repr_html_()\n"
        "print('rich' in sys.modules, 'tqdm' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False False"
