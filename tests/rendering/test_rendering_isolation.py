"""Renders in processes of their own: one for each, few at a time, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from kinto_orm.errors import RenderBusy, RenderLimit, TemplateError
from kinto_orm.rendering import Document, Limits, Needs, Renderer
from kinto_orm.rendering.places import MOST, Places

MODES = ("none", "process")
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
PATIENT = Limits(wall=300, queue=300)
"""For a busy machine: nothing here is about the time that something takes."""


def children_of(pid: int) -> list[int]:
    """The children that any thread of a process has."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, listed.read_text().split())
    return found


def helper_of(pid: int) -> int | None:
    for child in children_of(pid):
        if b"kinto_orm" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return None


def renders() -> list[int]:
    """The processes that render for this one."""
    helper = helper_of(os.getpid())
    return children_of(helper) if helper else []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


class Held:
    """A template whose loading waits until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def load(self, name: str) -> Document:
        if name == "held":
            assert self.let_go.wait(60)
        return Document(name, "{{ x }}", 1)

    def render(self, name: str, limits: Limits = PATIENT) -> str:
        return Renderer(self.load, limits).render(name, {"x": name}, isolation="process")


@contextmanager
def all_places_taken() -> Iterator[Held]:
    held = Held()
    with ThreadPoolExecutor(MOST) as pool:
        jobs = [pool.submit(held.render, "held") for _ in range(MOST)]
        try:
            wait_until(lambda: len(renders()) == MOST)
            yield held
        finally:
            held.let_go.set()
        assert {job.result() for job in jobs} == {"held"}


# ------------------------------------------------------------------ one child, one look


def test_one_child_looks_and_renders() -> None:
    """The values are fetched in the midst of a render, by the names that the templates have."""
    sources = {
        "t": "{{ a }}{% include 'u' %}{% if false %}{% include 'u' %}{% endif %}",
        "u": "{{ b }}",
    }
    seen: list[Any] = []

    def load(name: str) -> Document | None:
        seen.append((name, tuple(renders())))
        return Document(name, sources[name], None)

    def values(needs: Needs) -> Mapping[str, Any]:
        seen.append((needs, tuple(renders())))
        return {"a": 1, "b": 2}

    assert Renderer(load, PATIENT).render("t", values, isolation="process") == "12"
    assert [what for what, _ in seen] == ["t", "u", Needs(frozenset("ab"), False)]
    (children,) = {children for _, children in seen}
    assert len(children) == 1


@pytest.mark.parametrize("mode", MODES)
def test_templates_are_loaded_once(mode: str) -> None:
    """What names the values, and then renders, was loaded and parsed for both."""
    loaded: list[str] = []

    def load(name: str) -> Document:
        loaded.append(name)
        return Document(name, "{% include 'u' %}" if name == "t" else "{{ x }}", None)

    made = Renderer(load, PATIENT)
    assert made.render("t", lambda needs: dict.fromkeys(needs.names, 1), isolation=mode) == "1"  # type: ignore[arg-type]
    assert loaded == ["t", "u"]


class Down(Exception):
    """What a caller's own code raises."""


@pytest.mark.parametrize("mode", MODES)
def test_what_fetching_raises_comes_out(mode: str) -> None:
    """The caller's own error is not made one of templates, and nothing but JSON is taken."""

    def values(needs: Needs) -> Mapping[str, Any]:
        raise Down(needs)

    made = Renderer(lambda name: Document(name, "{{ x }}", None), PATIENT)
    with pytest.raises(Down):
        made.render("t", values, isolation=mode)  # type: ignore[arg-type]
    with pytest.raises(TemplateError, match="'x' is no plain JSON: object"):
        made.render("t", lambda needs: {"x": object()}, isolation=mode)  # type: ignore[arg-type,dict-item]
    assert made.render("t", {"x": 1}, isolation=mode) == "1"  # type: ignore[arg-type]


def test_values_are_not_the_templates_memory() -> None:
    """A bucket's values may be larger than what a template may use; what it makes of them, not."""
    limits = Limits(wall=300, queue=300, memory=30 << 20, value=10**9, output=10**9, seconds=30)
    sources = {"good": "{{ x|length }}", "bad": "{{ x ~ x ~ x ~ x }}"}
    made = Renderer(lambda name: Document(name, sources[name], None), limits)
    big = {"x": "x" * (25 << 20)}
    assert made.render("good", lambda _: big, isolation="process") == str(25 << 20)
    with pytest.raises(RenderLimit, match="memory over 30 MB"):
        made.render("bad", lambda _: big, isolation="process")


# ------------------------------------------------------------------ few at a time


def test_good_renders_succeed_beside_hostile_ones() -> None:
    """80 hostile renders take no place from 10 good ones for long, and never have more."""
    limits = Limits(wall=300, queue=300, seconds=0.05)
    sources = {"good": "{{ x }}", "hostile": ENDLESS}
    made = Renderer(lambda name: Document(name, sources[name], 1), limits)
    most = [0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            most.append(len(renders()))

    def render(name: str) -> str:
        try:
            return made.render(name, {"x": "fine"}, isolation="process")
        except RenderLimit as error:
            return str(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    names = ["hostile"] * 40 + ["good"] * 10 + ["hostile"] * 40
    with ThreadPoolExecutor(90) as pool:
        found = list(pool.map(render, names))
    over.set()
    watcher.join()
    assert found[40:50] == ["fine"] * 10
    assert set(found[:40] + found[50:]) == {"template 'hostile': CPU time over 0.05 s"}
    assert 0 < max(most) <= MOST
    assert renders() == []


def test_no_place_in_time_is_an_error_of_its_own() -> None:
    """It says what to do; what rendered meanwhile is not disturbed."""
    with all_places_taken() as held:
        with pytest.raises(
            RenderBusy, match=r"no process was free within 0.05 s.*try again"
        ) as caught:
            held.render("t", Limits(queue=0.05))
        assert caught.value.name == "t"
        assert len(renders()) == MOST
    assert held.render("t") == "t"


def test_waiting_is_not_the_templates_time() -> None:
    """The clock of a render starts when its process does."""
    with all_places_taken() as held, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(held.render, "t", Limits(wall=3, queue=300))
        time.sleep(3.5)
        held.let_go.set()
        assert waiting.result() == "t"


def test_places_are_given_in_order() -> None:
    """Who came first is served first, and one who left leaves no gap."""
    places = Places(1)
    assert places.take(0)
    assert not places.take(0)
    order: list[int] = []

    def wait(number: int) -> None:
        if places.take(0.2 if number == 1 else 60):
            order.append(number)
            places.give_back()

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        wait_until(lambda started=number: len(places._queue) > started)
    threads[1].join()
    places.give_back()
    for thread in threads:
        thread.join()
    assert order == [0, 2, 3, 4]
    assert places.take(0)


# ------------------------------------------------------------------ none left behind

SCRIPT = textwrap.dedent("""
    import glob, os, sys, threading, time, warnings
    from kinto_orm.rendering import Limits, Renderer, Document
    hostile = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    made = Renderer(lambda name: Document(name, hostile, 1), Limits(seconds=99, wall=99))
    good = Renderer(lambda name: Document(name, "{{ x }}", 1))
    def render():
        try:
            made.render("t", {}, isolation="process")
        except BaseException:
            pass
    threading.Thread(target=render, daemon=True).start()
    def children(pid):
        listed = glob.glob(f"/proc/{pid}/task/*/children")
        return [child for each in listed for child in open(each).read().split()]
    while not (helper := children(os.getpid())) or not (child := children(helper[0])):
        time.sleep(0.01)
    print(helper[0], child[0], flush=True)
    if sys.argv[1] == "fork":
        warnings.simplefilter("ignore")
        if os.fork() == 0:
            print(good.render("t", {"x": "forked"}, isolation="process"), flush=True)
            time.sleep(99)
    time.sleep(99)
""")


@contextmanager
def running(how: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, how], stdout=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def started(process: subprocess.Popen[str]) -> tuple[int, int]:
    assert process.stdout is not None
    helper, child = process.stdout.readline().split()
    assert is_running(int(child))
    return int(helper), int(child)


@pytest.mark.parametrize("killed", ["the helper", "the program", "both"])
def test_no_child_outlives_whom_it_works_for(killed: str) -> None:
    """A child that calculates is ended at once, not when its time is over."""
    with running("alone") as process:
        helper, child = started(process)
        if killed != "the helper":
            process.kill()
        if killed != "the program":
            os.kill(helper, signal.SIGKILL)
        wait_until(lambda: not is_running(child))
        wait_until(lambda: not is_running(helper))


def test_a_fork_of_the_program_holds_nothing() -> None:
    """A fork renders with a helper of its own, and keeps none of its parent's alive."""
    with running("fork") as process:
        helper, child = started(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "forked\n"
        process.kill()
        wait_until(lambda: not is_running(child))
        wait_until(lambda: not is_running(helper))


def test_forks_and_threads_do_not_wait_for_each_other() -> None:
    """A program may fork at any time, also while others render and while the helper starts."""
    script = textwrap.dedent("""
        import os, threading, warnings
        from kinto_orm.rendering import Limits, Renderer, Document
        warnings.simplefilter("ignore")
        limits = Limits(wall=300, queue=300)
        made = Renderer(lambda name: Document(name, "{{ x }}", 1), limits)
        def render():
            for _ in range(5):
                assert made.render("t", {"x": 1}, isolation="process") == "1"
        threads = [threading.Thread(target=render) for _ in range(4)]
        for thread in threads:
            thread.start()
        forks = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                os._exit(made.render("t", {"x": 2}, isolation="process") != "2")
            forks.append(pid)
        for thread in threads:
            thread.join()
        for pid in forks:
            assert os.waitpid(pid, 0)[1] == 0
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
