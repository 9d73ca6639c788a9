"""Forked children: connections of their own, no lock of the parent, and no copied server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from conftest import Backend
from kinto_orm import Bucket, Collection, Record, Session
from kinto_orm.server import LoopbackServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

# In programs of their own: the test run has threads of its own, with which a fork is no good.
PREAMBLE = """
import faulthandler, os, signal, sys, threading
from kinto_orm import *
from kinto_orm.server import open_local, open_memory, serve, serve_process

class Todo(Record, collection="todos"):
    title: str = ""

def in_child(act):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            faulthandler.dump_traceback_later(15)
            signal.alarm(20)
            act()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid

def succeeded(*pids):
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * len(pids)
"""


def run(code: str, *arguments: str) -> None:
    """Run a program, which must end well and say nothing; a child that hangs says where."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            PREAMBLE + dedent(code),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.fixture
def place(loopback: LoopbackServer, backend: Backend) -> Iterator[tuple[str, str]]:
    """The URL of a Kinto and the id of a bucket with the todos "p" and "c"."""
    bucket = backend.new_id()
    with Session(loopback.url, auth="alice:s3cret", bucket=bucket) as session:
        Bucket(id=bucket).save()
        Collection(id="todos").save()
        for id in ("p", "c"):
            Record(id=id, title=id).save(session=session.scoped(collection="todos"))
        yield loopback.url, bucket


def test_parent_and_child_never_read_each_others_answers(place: tuple[str, str]) -> None:
    """Both ask at the same time, over and over, and each gets what it asked for."""
    run(
        """
        session = Session(sys.argv[1], auth="alice:s3cret", bucket=sys.argv[2])
        session.get(Todo, "p")

        def ask(id):
            for _ in range(60):
                todo = session.get(Todo, id)
                assert (todo.id, todo.title) == (id, id)

        pids = [in_child(lambda: ask("c")) for _ in range(2)]
        ask("p")
        assert succeeded(*pids)
        session.close()
        """,
        *place,
    )


def test_a_childs_connection_is_not_its_parents(place: tuple[str, str]) -> None:
    """The child's end, with all that it closes, leaves the parent's connection as it was."""
    run(
        """
        session = Session(sys.argv[1], auth="alice:s3cret", bucket=sys.argv[2])
        todo = session.get(Todo, "p")

        def work():
            mine = session.get(Todo, "c")
            mine.title = "child"
            mine.save()
            todo.refresh()
            with session:
                pass

        assert succeeded(in_child(work))
        todo.title = "parent"
        todo.save()
        assert session.get(Todo, "c").title == "child"
        session.close()
        """,
        *place,
    )


def test_a_fork_while_threads_are_at_work(place: tuple[str, str]) -> None:
    """No child waits for a lock that a thread of the parent held."""
    run(
        """
        session = Session(sys.argv[1], auth="alice:s3cret", bucket=sys.argv[2])
        stop = threading.Event()

        def hammer():
            while not stop.is_set():
                session.find(Todo).all()

        def work():
            assert session.get(Todo, "c").id == "c"
            assert len(session.find(Todo).page_size(1).all()) == 2
            session.close()

        threads = [threading.Thread(target=hammer, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            assert succeeded(in_child(work), in_child(work))
        stop.set()
        for thread in threads:
            thread.join()
        session.close()
        """,
        *place,
    )


def test_a_fork_while_a_thread_computes_a_property() -> None:
    """Python 3.11 has one lock for that property of all objects; a child has one of its own."""
    run(
        """
        from kinto_orm.wire.forking import cached_property
        computing, done = threading.Event(), threading.Event()

        class Quick:
            @cached_property
            def value(self):
                return self.compute()

            def compute(self):
                return 1

        class Slow(Quick):
            def compute(self):
                computing.set()
                done.wait()
                return 2

        slow = Slow()
        thread = threading.Thread(target=lambda: slow.value, daemon=True)
        thread.start()
        computing.wait()

        def work():
            assert Quick().value == 1

        assert succeeded(in_child(work))
        done.set()
        thread.join()
        assert slow.value == 2
        """
    )


def test_a_fork_while_a_thread_builds_a_model() -> None:
    """Pydantic builds a model when it is first used, with a lock for all models."""
    run(
        """
        import time
        from pydantic_core import core_schema
        building = threading.Event()

        class Slow:
            @classmethod
            def __get_pydantic_core_schema__(cls, source, handler):
                if threading.current_thread() is not threading.main_thread():
                    building.set()
                    time.sleep(0.3)
                return core_schema.any_schema()

        class Note(Record, collection="notes"):
            slow: Slow = None

        def build():
            Note.model_rebuild(force=True)

        def work():
            Todo.model_rebuild(force=True)
            assert Todo(title="x").title == "x"

        thread = threading.Thread(target=build, daemon=True)
        thread.start()
        building.wait()
        assert succeeded(in_child(work))
        thread.join()
        """
    )


def test_a_loop_over_pages_goes_on_in_the_child(place: tuple[str, str]) -> None:
    """The thread that fetches a page ahead stays with the parent."""
    run(
        """
        session = Session(sys.argv[1], auth="alice:s3cret", bucket=sys.argv[2])
        for _ in range(10):
            todos = iter(session.find(Todo).page_size(1))
            assert next(todos).id == "c"

            def work():
                assert [todo.id for todo in todos] == ["p"]

            pid = in_child(work)
            assert [todo.id for todo in todos] == ["p"]
            assert succeeded(pid)
        session.close()
        """,
        *place,
    )


def test_a_memory_server_is_its_own_processs() -> None:
    """What a child wrote into its copy would be lost: it is refused, and the parent goes on."""
    run(
        """
        for url in ("memory://", "memory://name"):
            session = Session(url)
            todo = Todo(id="x").save(session=session)

            def work():
                for act in (
                    todo.refresh,
                    lambda: Todo(id="y").save(session=session),
                    session.find(Todo).all,
                    session.account,
                    lambda: session.kv.get("k"),
                ):
                    try:
                        act()
                    except ConfigurationError as error:
                        assert "forked child: open a Session of its own" in str(error)
                    else:
                        raise AssertionError(act)
                with Session(url) as own:
                    assert Todo.find().count() == 0
                    Todo(id="z").save()
                with session:
                    pass
                session.close()

            assert succeeded(in_child(work))
            assert [todo.id for todo in session.find(Todo)] == ["x"]
            session.close()
        """
    )


def test_a_memory_server_that_answers_while_its_process_forks() -> None:
    """Its lock is held then; the child is told at once all the same."""
    run(
        """
        session = Session("memory://busy")
        Todo(id="x").save(session=session)
        stop = threading.Event()

        def hammer():
            while not stop.is_set():
                session.get(Todo, "x")

        def refused():
            try:
                session.get(Todo, "x")
            except ConfigurationError:
                return
            raise AssertionError

        def opens():
            with Session("memory://busy"):
                Todo(id="y").save()
                assert Todo.find().count() == 1

        thread = threading.Thread(target=hammer, daemon=True)
        thread.start()
        for _ in range(20):
            assert succeeded(in_child(refused))
        assert succeeded(in_child(opens))
        stop.set()
        thread.join()
        session.close()
        """
    )


def test_a_directory_is_shared_by_what_each_process_opens(tmp_path: Path) -> None:
    """A child opens it itself, and sees and writes what the parent does."""
    run(
        """
        directory = sys.argv[1]
        server = open_local(directory, durable=False)
        session = Session("local://" + directory)
        Todo(id="x", title="parent").save(session=session)

        def work():
            try:
                session.get(Todo, "x")
            except ConfigurationError as error:
                assert "local:///directory" in str(error)
            else:
                raise AssertionError
            session.close()
            with Session("local://" + directory):
                assert Todo.get("x").title == "parent"
                Todo(id="y", title="child").save()

        pids = [in_child(work)]
        assert succeeded(*pids)
        assert session.get(Todo, "y").title == "child"
        session.close()
        server.close()
        """,
        str(tmp_path / "data"),
    )


def test_a_child_that_goes_on_does_not_keep_a_directory(tmp_path: Path) -> None:
    """The parent can close and open it anew while the child, which never used it, lives."""
    run(
        """
        directory = sys.argv[1]
        read, write = os.pipe()
        server = open_local(directory, durable=False)

        def wait():
            os.close(write)
            os.read(read, 1)

        pid = in_child(wait)
        signal.alarm(60)
        server.close()
        assert not os.path.exists(directory + "/postgres/postmaster.pid")
        open_local(directory, durable=False).close()
        os.close(write)
        assert succeeded(pid)
        """,
        str(tmp_path / "data"),
    )


def test_a_child_that_goes_on_does_not_keep_a_port_open() -> None:
    """What the parent serves ends when the parent ends it."""
    run(
        """
        import socket
        read, write = os.pipe()
        kinto = open_memory()
        threads = serve(kinto)
        process = serve_process("memory://")
        with Session(threads.url, auth="a:b") as session:
            session.server_info()
            pids = []

            def wait():
                process.close()
                process.kill()
                threads.close()
                os.close(write)
                os.read(read, 1)

            pid = in_child(wait)
            for url in (threads.url, process.url):
                with Session(url, auth="a:b") as other:
                    assert other.server_info().user
        signal.alarm(60)
        ports = [int(each.url.split(":")[2].split("/")[0]) for each in (threads, process)]
        process.close()
        threads.close()
        kinto.close()
        for port in ports:
            try:
                socket.create_connection(("127.0.0.1", port), 5)
            except ConnectionRefusedError:
                continue
            raise AssertionError(port)
        os.close(write)
        assert succeeded(pid)
        """
    )


def test_garbage_is_collected_in_a_child() -> None:
    """Although a thread of the parent had paused that when the child was made."""
    run(
        """
        import gc
        from kinto_orm.models.collector import collector
        paused, done = threading.Event(), threading.Event()

        def pause():
            with collector.paused():
                paused.set()
                done.wait()

        thread = threading.Thread(target=pause, daemon=True)
        thread.start()
        paused.wait()

        def work():
            assert gc.isenabled()
            with collector.paused():
                assert not gc.isenabled()
            assert gc.isenabled()

        pid = in_child(work)
        done.set()
        thread.join()
        assert succeeded(pid)
        assert gc.isenabled()
        """
    )
