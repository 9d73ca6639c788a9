"""Rendering in a process of its own, with limits that hold against any template.

A helper process is started once, by exec, with no environment and no open files of this one,
so that it holds nothing of the session: no credentials, no data. For each render it forks a
child, which takes limits upon itself, gets the name and the values through a socket, asks
for templates through it, and answers with the text. The helper watches the children: it
tells how one ended, and kills one whose caller has gone.

Linux only: it needs fork, resource limits and the passing of file descriptors.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import math
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from kinto_orm.errors import (
    ConfigurationError,
    RenderLimit,
    TemplateError,
    TemplateSyntaxError,
    UndefinedVariable,
)
from kinto_orm.limits import Limits
from kinto_orm.sandbox import Load, Shelf, Stored, UndefinedMode

if TYPE_CHECKING:
    from pydantic import JsonValue

OUT_OF_MEMORY = "out of memory"
_ERRORS = (TemplateError, TemplateSyntaxError, UndefinedVariable, RenderLimit)
_ERROR_CLASSES = {kind.__name__: kind for kind in _ERRORS}
_HEADER = struct.Struct("!I")
_STATUS = struct.Struct("!i")

# What is imported late, by Jinja2 and others: a child cannot open files any more.
_PRELOADED = ("html", "jinja2.constants", "jinja2.debug", "pprint", "resource", "textwrap")

# The package's own __init__ is left out: rendering needs nothing of it.
_START = """
import sys, types
sys.path[:] = sys.argv[3:]
package = sys.modules["kinto_orm"] = types.ModuleType("kinto_orm")
package.__path__ = [sys.argv[2]]
from kinto_orm import isolation, rendering
isolation.serve(int(sys.argv[1]), rendering.Renderer)
"""


class Renders(Protocol):
    """What the child needs of a renderer."""

    def render(
        self, name: str, values: Mapping[str, JsonValue], *, undefined: UndefinedMode
    ) -> str:
        """Render the template of that name."""


class _HelperGone(Exception):
    """The helper process ended before it could fork, or while the child ran."""


def _send(channel: socket.socket, message: object) -> None:
    data = json.dumps(message).encode("ascii")
    channel.sendall(_HEADER.pack(len(data)) + data)


def _receive(channel: socket.socket, *, longest: int = 2**32, until: float = math.inf) -> Any:  # noqa: ANN401
    (length,) = _HEADER.unpack(_exactly(channel, _HEADER.size, until))
    if length > longest:
        raise EOFError
    return json.loads(_exactly(channel, length, until))


def _exactly(channel: socket.socket, count: int, until: float) -> bytes:
    data = bytearray()
    while len(data) < count:
        if until < math.inf:
            channel.settimeout(max(until - time.monotonic(), 0.001))
        chunk = channel.recv(min(count - len(data), 2**20))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


# ---------------------------------------------------------------- in the caller's process


class _Helper:
    """The helper process, as its starter sees it."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        paths = [os.path.abspath(path) for path in sys.path]
        fd, package = str(theirs.fileno()), os.path.dirname(os.path.abspath(__file__))
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-W", "ignore", "-c", _START, fd, package, *paths],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        if not self.control.recv(1):
            self.stop()
            raise ConfigurationError(
                "the helper process for isolated rendering did not start:"
                f" {sys.executable} ended with code {self.process.returncode}"
            )

    def fork(self) -> tuple[socket.socket, socket.socket]:
        """Get a new child: the socket to talk to it, and the one that tells how it ended."""
        (channel, their_channel), (status, their_status) = socket.socketpair(), socket.socketpair()
        with their_channel, their_status:
            try:
                socket.send_fds(
                    self.control, [b"r"], [their_channel.fileno(), their_status.fileno()]
                )
            except OSError as error:
                channel.close()
                status.close()
                raise _HelperGone from error
        return channel, status

    def stop(self) -> None:
        """End the process; it ends by itself when nobody can talk to it any more."""
        self.control.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def forget(self) -> None:
        """Let go of it in a fork of this process: it is the parent's, not ours to end."""
        self.control.close()
        self.process.returncode = 0


class _Shared:
    """The one helper of this process, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._helper: _Helper | None = None
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.stop)

    def get(self) -> _Helper:
        with self._lock:
            if self._helper is None:
                self._helper = _Helper()
            return self._helper

    def replace(self, gone: _Helper) -> None:
        with self._lock:
            if self._helper is gone:
                self._helper = None
                gone.stop()

    def stop(self) -> None:
        if self._helper is not None:
            self.replace(self._helper)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        if self._helper is not None:
            self._helper.forget()
            self._helper = None


_shared: _Shared | None = _Shared() if sys.platform == "linux" else None


def render(
    load: Load,
    limits: Limits,
    name: str,
    values: Mapping[str, JsonValue],
    undefined: UndefinedMode,
) -> str:
    """Render in a child process; see `Renderer.render`.

    Raises:
        TemplateError: As the render in this process would.
        RenderLimit: Also for CPU time, memory and time by the clock.
        ConfigurationError: This is not Linux.
    """
    if _shared is None:
        raise ConfigurationError(
            f"isolation='process' works on Linux only, this is {sys.platform};"
            " isolation='none' renders templates that you trust"
        )
    request = {
        "limits": asdict(limits),
        "name": name,
        "values": dict(values),
        "undefined": undefined,
    }
    for _ in range(3):
        helper = _shared.get()
        try:
            return _ask(helper, request, Shelf(load, limits), limits)
        except _HelperGone:
            _shared.replace(helper)
    raise TemplateError(f"template {name!r}: the rendering process cannot be started", name=name)


def _ask(helper: _Helper, request: dict[str, Any], shelf: Shelf, limits: Limits) -> str:
    channel, status = helper.fork()
    # The helper kills the child when `status` closes.
    with channel, status:
        try:
            _send(channel, request)
            answer = _answered(channel, shelf, limits)
        except TimeoutError:
            failure = RenderLimit(f"time over {limits.wall:g} s")
        except (EOFError, ConnectionError):
            failure = _ending(status, limits)
        else:
            return _text(answer)
    name = request["name"]
    raise type(failure)(f"template {name!r}: {failure}", name=name)


def _answered(channel: socket.socket, shelf: Shelf, limits: Limits) -> Any:  # noqa: ANN401
    longest = 12 * limits.output + 2**16
    started = time.monotonic()
    while True:
        until = started + limits.wall + shelf.waited
        message = _receive(channel, longest=longest, until=until)
        if "load" not in message:
            return message
        found = shelf.get(message["load"])
        _send(channel, found and asdict(found))


def _text(answer: dict[str, Any]) -> str:
    if "text" in answer:
        return str(answer["text"])
    kind = _ERROR_CLASSES[answer["error"]]
    raise kind(answer["message"], name=answer["name"], lineno=answer["lineno"])


def _ending(status: socket.socket, limits: Limits) -> TemplateError:
    status.settimeout(2)
    try:
        data = status.recv(_STATUS.size)
    except OSError as error:
        raise _HelperGone from error
    if not data:
        raise _HelperGone
    code = os.waitstatus_to_exitcode(*_STATUS.unpack(data))
    if code in (-signal.SIGPROF, -signal.SIGXCPU):
        return RenderLimit(f"CPU time over {limits.seconds:g} s")
    if code < 0:
        return RenderLimit(f"the rendering process was killed by {signal.Signals(-code).name}")
    return TemplateError(f"the rendering process ended with code {code}")


# ---------------------------------------------------------------- in the helper process


def serve(fd: int, make: Callable[[Load, Limits], Renders]) -> NoReturn:
    """Be the helper process: fork a child for each request, until the caller is gone.

    Args:
        fd: The socket to the process that started this one.
        make: Makes a renderer from a `Load` and limits.
    """
    for module in _PRELOADED:
        importlib.import_module(module)
    for undefined in ("strict", "lenient"):
        warm = make(lambda name: Stored(name, "{{ x }}", None), Limits())
        warm.render("", {"x": 1}, undefined=undefined)  # type: ignore[arg-type]
    gc.freeze()
    _Supervisor(socket.socket(fileno=fd), make).run()


class _Supervisor:
    """Forks the children, tells how they ended, and kills those that nobody waits for."""

    def __init__(self, control: socket.socket, make: Callable[[Load, Limits], Renders]) -> None:
        self._make = make
        self._children: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        woken, wake = socket.socketpair()
        woken.setblocking(False)
        wake.setblocking(False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())
        self._selector.register(woken, selectors.EVENT_READ, self._reap)
        self._selector.register(control, selectors.EVENT_READ, self._accept)
        control.send(b"!")

    def run(self) -> NoReturn:
        while True:
            for key, _ in self._selector.select():
                key.data(key.fileobj)

    def _accept(self, control: socket.socket) -> None:
        data, fds, _, _ = socket.recv_fds(control, 1, 2)
        if not data:
            self._quit()
        channel, status = (socket.socket(fileno=fd) for fd in fds)
        pid = os.fork()
        if pid == 0:
            self._be_child(channel.detach())
        channel.close()
        self._children[pid] = status
        self._selector.register(
            status, selectors.EVENT_READ, functools.partial(self._abandon, pid)
        )

    def _abandon(self, pid: int, status: socket.socket) -> None:
        if pid in self._children:
            self._selector.unregister(status)
            os.kill(pid, signal.SIGKILL)

    def _reap(self, woken: socket.socket) -> None:
        woken.recv(4096)
        while self._children:
            pid, ending = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            status = self._children.pop(pid)
            with contextlib.suppress(KeyError):  # abandoned
                self._selector.unregister(status)
            with status, contextlib.suppress(OSError):  # the caller is gone
                status.send(_STATUS.pack(ending))

    def _quit(self) -> NoReturn:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    def _be_child(self, fd: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.closerange(3, fd)
            os.closerange(fd + 1, 2**16)
            _work(socket.socket(fileno=fd), self._make)
            code = 0
        finally:
            os._exit(code)


# ---------------------------------------------------------------- in a child of it


def _work(channel: socket.socket, make: Callable[[Load, Limits], Renders]) -> None:
    request = _receive(channel)
    limits = Limits(**request["limits"])

    def load(name: str) -> Stored | None:
        _send(channel, {"load": name})
        found = _receive(channel)
        return found and Stored(**found)

    _confine(limits)
    _send(channel, _outcome(make(load, limits), request, limits))


def _outcome(renderer: Renders, request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    try:
        text = renderer.render(
            request["name"], request["values"], undefined=request["undefined"]
        )
    except TemplateError as error:
        message = str(error).replace(OUT_OF_MEMORY, f"memory over {limits.memory >> 20} MB")
        return {
            "error": type(error).__name__,
            "message": message,
            "name": error.name,
            "lineno": error.lineno,
        }
    return {"text": text}


def _confine(limits: Limits) -> None:
    """Give up what a template must not have; nothing of this can be taken back."""
    import resource  # not on every platform

    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    for kind, amount in (
        (resource.RLIMIT_AS, used + limits.memory),
        (resource.RLIMIT_CPU, math.ceil(limits.seconds) + 1),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (amount, amount))
    signal.setitimer(signal.ITIMER_PROF, limits.seconds)
