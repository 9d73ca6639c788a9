"""`progress=True`: a bar by Rich or tqdm where one is installed, else a line on standard error."""

from __future__ import annotations

import builtins
import io
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from both import AnySession, do, either
from kinto_orm import Conflict, InvalidData, Record

session = either

# What is not installed, and the last line then; each has how many are done, of how many, and the
# counts.
WAYS = {
    "rich": ([], r"60/60 [\d:]+ 60 created"),
    "tqdm": (["rich"], r"60/60 \[.*, 60 created\]"),
    "plain": (["rich", "tqdm"], r"^60 of 60: 60 created$"),
}


class Todo(Record, collection="todos"):
    title: str = ""


def todos(most: int = 60) -> Iterator[Todo]:
    return (Todo(id=f"t{number}") for number in range(most))


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is none, whatever the tests are run from."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=WAYS)
def line(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the last line looks in an environment in which some of the packages are missing."""
    missing, line = WAYS[request.param]
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    return line


def said(captured: Any) -> str:
    """The last line on standard error; standard output stays for what is asked for."""
    out, err = captured
    assert out == ""
    return str(re.split(r"[\r\n]", err.rstrip())[-1])


async def test_a_bar_shows_how_far_it_came(
    session: AnySession, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them at the end, in both sessions, whatever is installed."""
    assert (await do(session.save_all, [*todos()], progress=True)).created == 60
    assert re.search(line, said(capsys.readouterr()))


async def test_a_bar_of_what_has_no_length(
    session: AnySession, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A generator is not read for it: how many are done is shown."""
    await do(session.save_all, todos(), progress=True)
    last = said(capsys.readouterr())
    assert "60" in last
    assert "60 created" in last


async def test_a_bar_is_true_at_an_error(
    session: AnySession, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts what was done until then, the error with it."""
    await do(Todo(id="t3").save)
    with pytest.raises(Conflict) as caught:
        await do(session.save_all, [*todos()], progress=True, on_error="raise")
    (note,) = caught.value.__notes__
    counted = note.removeprefix("until then: ")
    assert "1 failed" in counted
    last = said(capsys.readouterr())
    assert counted in last
    assert re.search(r"\b25( of |/)60\b", last)


async def test_all_bulk_work_has_one(
    session: AnySession, capsys: pytest.CaptureFixture[str]
) -> None:
    """delete_all and sync, which counts what it deletes at the end."""
    await do(session.sync, Todo, [*todos()], progress=True)
    assert re.search(WAYS["rich"][1], said(capsys.readouterr()))
    await do(session.sync, Todo, [*todos(20)], delete_missing=True, progress=True)
    assert "40/40" in said(capsys.readouterr())
    await do(session.delete_all, [*todos(20)], progress=True, force=True)
    assert "20/20" in said(capsys.readouterr())


async def test_a_bar_is_closed_when_the_work_fails(
    session: AnySession, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What raises ends the bar, and says how far it came."""

    def failing() -> Iterator[Todo]:
        yield from todos(30)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await do(session.save_all, failing(), progress=True)
    assert "25 created" in capsys.readouterr().err
    await do(session.save_all, [*todos()], existing="update", progress=True)
    assert "created" in capsys.readouterr().err


async def test_a_bar_in_a_notebook_without_widgets(
    session: AnySession, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich would draw nothing there, and warn."""
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    await do(session.save_all, [*todos()], progress=True)
    assert re.search(WAYS["tqdm"][1], said(capsys.readouterr()))


@pytest.mark.parametrize("progress", [None, False])
async def test_there_is_none_unless_it_is_asked_for(
    session: AnySession, capsys: pytest.CaptureFixture[str], progress: bool | None
) -> None:
    """Nothing is written."""
    await do(session.save_all, [*todos()], progress=progress)
    await do(session.save_all, [], progress=True)
    assert capsys.readouterr() == ("", "")


async def test_a_program_without_a_console(
    session: AnySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pythonw.exe runs it: there is no standard error."""
    monkeypatch.setattr(sys, "stderr", None)
    assert (await do(session.save_all, [*todos()], progress=True)).created == 60


async def test_what_is_no_progress(session: AnySession) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(InvalidData, match="progress must be True or a function, not 'yes'"):
        await do(session.save_all, [*todos()], progress="yes")
    assert await do(Todo.find().count) == 0


class Broken(io.StringIO):
    """Nobody reads it any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("stream", [Broken, closed])
async def test_work_does_not_end_because_its_bar_cannot_be_drawn(
    session: AnySession,
    stream: Callable[[], io.StringIO],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The summary is there, and standard output is what it was."""
    monkeypatch.setattr(sys, "stderr", stream())
    summary = await do(session.save_all, todos(), progress=True)
    print(summary.created)
    assert capsys.readouterr().out == "60\n"
