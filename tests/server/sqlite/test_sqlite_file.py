"""A Kinto in one file: what it takes for its own, and what happens when something is wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kinto_orm import Conflict, Record, ServerError, Session
from kinto_orm.errors import ConfigurationError
from kinto_orm.server import open_sqlite
from kinto_orm.server.sqlite import schema
from kinto_orm.server.sqlite.database import open_database


class Todo(Record, collection="todos"):
    title: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


def saved(path: Path, **options: Any) -> str:
    """The titles in a file, as one text."""
    with Session(f"sqlite:///{path}", **options):
        return " ".join(todo.title for todo in Todo.find().order_by(Todo.title))


def in_a_child(act: Callable[[], str]) -> str:
    """What a forked child says of its act, or the error."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            said = act()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def contents(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.parent.iterdir()}


# --- the file -------------------------------------------------------------------------------


def test_what_is_saved_is_there_when_it_is_opened_again(path: Path) -> None:
    """The user, too, is the same: its secret is in the file."""
    with Session(f"sqlite:///{path}") as session:
        user = session.server_info().user
        Todo(title="Buy milk 😀").save()
    with Session(f"sqlite:///{path}") as session:
        assert session.server_info().user == user
    assert saved(path) == "Buy milk 😀"


def test_a_closed_file_is_one_file_for_its_owner(path: Path) -> None:
    """Nothing is left beside it, and nobody else may read it, nor what is beside it meanwhile."""
    with Session(f"sqlite:///{path}"):
        Todo(title="x").save()
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"app.db": 0o600, "app.db-wal": 0o600, "app.db-shm": 0o600}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["app.db", "a b.db", "50%.db", "ünï.db", "q?.db", "h#.db"])
def test_a_path_may_have_any_name(tmp_path: Path, name: str) -> None:
    """`open_sqlite` takes it as it is."""
    with open_sqlite(tmp_path / name, durable=False) as server:
        server.flush()
    assert (tmp_path / name).is_file()


def test_three_slashes_are_relative_and_four_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SQLAlchemy writes it; %20 stands for a space."""
    monkeypatch.chdir(tmp_path)
    with Session("sqlite:///my%20app.db"):
        Todo(title="x").save()
    assert saved(tmp_path / "my%20app.db") == "x"
    assert [each.name for each in tmp_path.iterdir()] == ["my app.db"]


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://app.db", "sqlite:///:memory:", "sqlite:///a?b=c"]
)
def test_a_url_without_a_file_is_refused(url: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ConfigurationError, match=r"sqlite:///app\.db|memory://"):
        Session(url)


def test_sessions_of_one_process_share_a_file(path: Path) -> None:
    """They are on one server; the last one closes it."""
    with Session(f"sqlite:///{path}") as one, Session(f"sqlite:///{path.parent}/./app.db") as two:
        todo = Todo(title="x").save(session=one)
        assert Todo.get(todo.id, session=two).title == "x"
        one.close()
        assert Todo.get(todo.id, session=two).title == "x"


def test_two_applications_with_other_settings_are_refused(path: Path) -> None:
    """What the settings are does not depend on who came first."""
    with open_sqlite(path), pytest.raises(ConfigurationError, match="other settings"):
        open_sqlite(path, settings={"readonly": "true"})


# --- what is not ours -----------------------------------------------------------------------


def refused(path: Path) -> str:
    """Why it is not opened; nothing in its directory may change."""
    before = contents(path)
    with pytest.raises(ConfigurationError) as caught:
        Session(f"sqlite:///{path}")
    assert contents(path) == before
    return str(caught.value)


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    """It is not taken for ours, and not changed."""
    open_sqlite(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    assert "later version of kinto-orm" in refused(path)


@pytest.mark.parametrize("statement", ["CREATE TABLE x (y)", "PRAGMA user_version = 7"])
def test_the_file_of_another_program_is_refused(path: Path, statement: str) -> None:
    """Whatever it has in it; not even its journal's mode is changed."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    assert "another program" in refused(path)


@pytest.mark.parametrize("content", [b"# My notes\n" * 500, b"SQLite format 3\0" + b"\xff" * 4080])
def test_what_is_no_sqlite_file_is_refused(path: Path, content: bytes) -> None:
    """A text file, for one."""
    path.write_bytes(content)
    assert "no SQLite file" in refused(path) or "damaged" in refused(path)


def test_a_file_that_was_cut_off_is_refused(path: Path) -> None:
    """In the middle, and to nothing while there is a log beside it."""
    with Session(f"sqlite:///{path}"):
        Todo(title="x").save()
        log = path.with_name("app.db-wal").read_bytes()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged or cut off" in refused(path)
    path.write_bytes(b"")
    path.with_name("app.db-wal").write_bytes(log)
    assert "cut off" in refused(path)


def test_the_rest_of_a_page_is_not_taken_for_a_page(path: Path) -> None:
    """SQLite would fill it up with nothing, and read what is no record."""
    open_sqlite(path).close()
    path.write_bytes(path.read_bytes()[:-1000])
    assert "cut off" in refused(path)


def test_what_is_missing_inside_is_said(path: Path) -> None:
    """Whatever SQLite raises while a file is opened, it is an error of ours that names the file."""
    open_sqlite(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE metadata")
    with pytest.raises(ConfigurationError, match=r"app\.db cannot be opened: it is damaged"):
        Session(f"sqlite:///{path}")


@pytest.mark.parametrize("name", ["a\0b.db", "circle"])
def test_what_no_file_can_be_called_is_refused(tmp_path: Path, name: str) -> None:
    """As all that is wrong with a path."""
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(ConfigurationError, match="can be no file"):
        open_sqlite(tmp_path / name)


@pytest.mark.parametrize("by", ["nothing", "a copy", "a directory"])
def test_nothing_is_written_into_a_file_that_is_not_there(path: Path, by: str) -> None:
    """What was saved into one that was deleted or exchanged would be lost without a word."""
    open_sqlite(path).close()
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    session = Session(f"sqlite:///{path}", retry=None)
    Todo(title="x").save(session=session)
    path.unlink()
    if by == "a copy":
        copy.rename(path)
    elif by == "a directory":
        path.mkdir()
    for _ in range(2):
        with pytest.raises(ServerError, match="moved, deleted or exchanged") as caught:
            Todo(title="y").save(session=session)
        assert caught.value.status == 500
    with pytest.raises(ConfigurationError, match="moved, deleted or exchanged"):
        Session(f"sqlite:///{path}")
    assert str(path.parent) not in str(caught.value.__cause__)
    assert Todo.find(session=session).count() == 1
    with pytest.warns(RuntimeWarning, match=r"only in app\.db-wal"):
        session.close()


def test_damage_that_is_met_later_is_said(path: Path) -> None:
    """In the answer, so that who asked knows what to do; nobody is told to try again later."""
    with Session(f"sqlite:///{path}"):
        for number in range(30):
            Todo(title=f"{number} " + "x" * 500).save()
    path.write_bytes(path.read_bytes().replace(b"x" * 200, b"\0" * 200))
    with Session(f"sqlite:///{path}", retry=None), pytest.raises(ServerError) as caught:
        Todo.find().all()
    assert caught.value.status == 500
    assert "damaged or cut off: put it back from a copy" in str(caught.value)


def test_a_directory_is_no_file_and_a_missing_one_is_not_made(tmp_path: Path) -> None:
    """The message says what is missing, and how an absolute path is written."""
    with pytest.raises(ConfigurationError, match="is no file"):
        open_sqlite(tmp_path)
    with pytest.raises(ConfigurationError, match=r"directory must exist.*four slashes"):
        Session("sqlite:///no/such/app.db")


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that everybody may enter, for tests that give up root's rights."""
    with tempfile.TemporaryDirectory(prefix="kinto-orm-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory).resolve()


def as_nobody(act: Callable[[], object]) -> str:
    """What becomes of an act in a process without root's rights."""

    def run() -> str:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return repr(act())

    return in_a_child(run)


def test_without_the_right_to_write_nothing_is_done(open_to_all: Path) -> None:
    """In a directory of others, and on a file that may be read only."""
    path = open_to_all / "app.db"
    os.chmod(open_to_all, 0o555)
    said = as_nobody(lambda: open_sqlite(path))
    assert said.startswith("ConfigurationError")
    assert "cannot be made: Permission denied" in said
    os.chmod(open_to_all, 0o755)
    open_sqlite(path).close()
    os.chmod(path, 0o444)
    said = as_nobody(lambda: open_sqlite(path))
    assert said.startswith("ConfigurationError")
    assert "right to write" in said
    os.chmod(path, 0o000)
    said = as_nobody(lambda: open_sqlite(path))
    assert said.startswith("ConfigurationError")
    assert "right to write" in said


@pytest.mark.parametrize("which", ["app.db", "app.db-shm", "app.db-wal"])
def test_a_file_that_may_only_be_read_is_named_and_nothing_is_put_beside_it(
    open_to_all: Path, which: str
) -> None:
    """Else what SQLite puts there may only be read, too, and stands in the way ever after."""
    os.chmod(open_to_all, 0o777)
    path = open_to_all / "app.db"
    open_sqlite(path).close()
    os.chmod(path, 0o666)
    (open_to_all / which).touch()
    os.chmod(open_to_all / which, 0o444)
    before = contents(path)
    said = as_nobody(lambda: open_sqlite(path))
    assert f"{which} may not be written to" in said
    assert contents(path) == before
    os.chmod(open_to_all / which, 0o666)
    assert "ConfigurationError" not in as_nobody(lambda: open_sqlite(path).close())


@pytest.mark.parametrize("name", ["a#b.db", "a?b.db", "a.db?", "a.db#"])
def test_what_a_url_has_a_meaning_for_is_written_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The message says how; and that works."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigurationError, match="%3F for a question mark in its name, and %23 for a #"
    ):
        Session(f"sqlite:///{name}")
    assert not list(tmp_path.iterdir())
    with Session("sqlite:///" + name.replace("?", "%3F").replace("#", "%23")):
        assert (tmp_path / name).is_file()


def test_what_a_file_leaves_behind_that_was_renamed_while_it_was_open_is_said(path: Path) -> None:
    """What was written last is in the log, and there again when the file has its name again."""
    open_sqlite(path).close()
    session = Session(f"sqlite:///{path}")
    Todo(id="last", title="x").save(session=session)
    moved = path.rename(path.with_name("moved.db"))
    with pytest.raises(ConfigurationError, match="open under another name"):
        Session(f"sqlite:///{moved}")
    with pytest.warns(RuntimeWarning, match=r"only in app\.db-wal beside it.* this name again"):
        session.close()
    moved.rename(path)
    with Session(f"sqlite:///{path}"):
        assert Todo.get("last").title == "x"


def limited(size: int) -> None:
    """Let no file of this process grow beyond a size, as a full disk would."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_new_file_on_a_full_disk_is_an_error_and_leaves_nothing(path: Path) -> None:
    """The directory is as it was."""

    def act() -> str:
        limited(0)
        return repr(open_sqlite(path))

    said = in_a_child(act)
    assert said.startswith("ConfigurationError"), said
    assert list(path.parent.iterdir()) == []


def test_on_a_full_disk_a_write_is_refused_and_what_was_there_stays(path: Path) -> None:
    """The server says 503; reading goes on; with room again, so does writing."""

    def act() -> str:
        with Session(f"sqlite:///{path}", retry=None):
            Todo(title="before").save()
            limited(path.with_name("app.db-wal").stat().st_size + 300_000)
            statuses, said = [], set()
            for _ in range(20):
                try:
                    Todo(title="x" * 20_000).save()
                    statuses.append(201)
                except ServerError as error:
                    statuses.append(error.status)
                    said.add(str(error).partition("Kinto: ")[2])
            found = Todo.find().count()
            limited(resource.RLIM_INFINITY)
        return json.dumps([statuses, found, list(said)])

    statuses, found, said = json.loads(in_a_child(act))
    assert all("full" in each for each in said), said
    assert set(statuses) == {201, 503}
    assert found == statuses.count(201) + 1
    with Session(f"sqlite:///{path}"):
        Todo(title="after").save()
        assert Todo.find().count() == found + 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_file_of_an_earlier_version_is_brought_up_to_date(path: Path) -> None:
    """Each version's statements are run once, and what is in the file stays."""
    with Session(f"sqlite:///{path}"):
        Todo(title="x").save()
    later = ("CREATE TABLE later (x)",), ("INSERT INTO later VALUES (1)",)
    with closing(sqlite3.connect(path)) as connection:
        for _ in range(2):
            schema.migrate(connection, str(path), schema.MIGRATIONS + later)
        assert connection.execute("SELECT * FROM later").fetchall() == [(1,)]
        assert connection.execute("SELECT count(*) FROM objects").fetchone()[0] > 1
        assert schema.check(connection, str(path), schema.VERSION + 2) == schema.VERSION + 2
        with pytest.raises(ConfigurationError, match="later version"):
            schema.check(connection, str(path))


# --- processes ------------------------------------------------------------------------------


def test_a_forked_child_opens_the_file_itself(path: Path) -> None:
    """Both see what the other saved, whoever closes first."""
    with Session(f"sqlite:///{path}"):
        Todo(title="of the parent").save()

        def act() -> str:
            with Session(f"sqlite:///{path}"):
                Todo(title="of the child").save()
                return " ".join(sorted(todo.title for todo in Todo.find()))

        assert in_a_child(act) == "of the child of the parent"
        assert Todo.find().count() == 2
        Todo(title="later").save()
    assert saved(path) == "later of the child of the parent"


def test_what_a_child_inherited_is_refused(path: Path) -> None:
    """The message says what to do."""
    with open_sqlite(path) as server:
        said = in_a_child(lambda: repr(server.flush()))
    assert said.startswith("ConfigurationError")
    assert "sqlite:///" in said
    with Session(f"sqlite:///{path}") as session:
        todo = Todo(title="x").save()
        assert "forked" in in_a_child(lambda: repr(todo.refresh(session=session)))


def test_a_child_forked_in_a_transaction_is_refused(path: Path) -> None:
    """What SQLite knows of the locks of a file that is in use is wrong in a child."""
    database = open_database(path, durable=False, busy_seconds=1)
    with database.transaction(writes=False):
        said = in_a_child(lambda: repr(open_sqlite(path)))
    assert said.startswith("ConfigurationError")
    assert "was forked while" in said
    assert in_a_child(lambda: open_sqlite(path).base_url) == "http://kinto.embedded/v1"
    database.close()


def test_of_two_who_saw_the_same_one_is_told(path: Path) -> None:
    """If-Match holds between processes."""
    with Session(f"sqlite:///{path}"):
        todo = Todo(id="x", title="x").save()

        def act() -> str:
            with Session(f"sqlite:///{path}") as other:
                mine = Todo.get("x", session=other)
                mine.title = "of the child"
                mine.save()
            return "saved"

        assert in_a_child(act) == "saved"
        todo.title = "of the parent"
        with pytest.raises(Conflict):
            todo.save()
