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
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinto_orm.errors import (
    ConfigurationError,
    RenderLimit,
    TemplateError,
    TemplateSyntaxError,
    UndefinedVariable,
)
from kinto_orm.rendering.limits import Limits
from kinto_orm.rendering.run import Load, Needs, Shelf
from kinto_orm.rendering.sandbox import UndefinedMode
from kinto_orm.rendering.worker import STATUS, receive, send

if TYPE_CHECKING:
    from pydantic import JsonValue

_ERRORS = (TemplateError, TemplateSyntaxError, UndefinedVariable, RenderLimit)
_PACKAGE = Path(__file__).absolute().parents[1]
_ERROR_CLASSES = {kind.__name__: kind for kind in _ERRORS}

# The package's own __init__ is left out: rendering needs nothing of it.
_START = """
import sys, types
sys.path[:] = sys.argv[3:]
package = sys.modules["kinto_orm"] = types.ModuleType("kinto_orm")
package.__path__ = [sys.argv[2]]
from kinto_orm.rendering import Renderer, worker
worker.serve(int(sys.argv[1]), Renderer)
"""


class _HelperGone(Exception):
    """The helper process ended before it could fork, or while the child ran."""


class _Helper:
    """The helper process, as its starter sees it."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        paths = [os.path.abspath(path) for path in sys.path]
        fd, package = (
            str(theirs.fileno()),
            str(_PACKAGE),
        )
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
    request = {"act": "render", "name": name, "values": dict(values), "undefined": undefined}
    return str(_child(load, limits, request)["text"])


def needs(load: Load, limits: Limits, name: str) -> Needs:
    """Look into templates in a child process; see `Renderer.needs`; raises as `render` does."""
    answer = _child(load, limits, {"act": "needs", "name": name})
    return Needs(frozenset(answer["names"]), answer["everything"])


def check(load: Load, limits: Limits, name: str) -> None:
    """Compile in a child process; see `Renderer.check`; raises as `render` does."""
    _child(load, limits, {"act": "check", "name": name})


def _child(load: Load, limits: Limits, request: dict[str, Any]) -> dict[str, Any]:
    """Let a new child do something, and give its answer."""
    if _shared is None:
        raise ConfigurationError(
            f"isolation='process' works on Linux only, this is {sys.platform};"
            " isolation='none' renders templates that you trust"
        )
    request = request | {"limits": asdict(limits)}
    for _ in range(3):
        helper = _shared.get()
        try:
            return _ask(helper, request, Shelf(load, limits), limits)
        except _HelperGone:
            _shared.replace(helper)
    name = request["name"]
    raise TemplateError(f"template {name!r}: the rendering process cannot be started", name=name)


def _ask(helper: _Helper, request: dict[str, Any], shelf: Shelf, limits: Limits) -> dict[str, Any]:
    channel, status = helper.fork()
    failure: TemplateError
    # The helper kills the child when `status` closes.
    with channel, status:
        try:
            send(channel, request)
            answer = _answered(channel, shelf, limits)
        except TimeoutError:
            failure = RenderLimit(f"time over {limits.wall:g} s")
        except (EOFError, ConnectionError):
            failure = _ending(status, limits)
        else:
            return _accepted(answer)
    name = request["name"]
    raise type(failure)(f"template {name!r}: {failure}", name=name)


def _answered(channel: socket.socket, shelf: Shelf, limits: Limits) -> Any:
    longest = 12 * limits.output + 2**16
    started = time.monotonic()
    while True:
        until = started + limits.wall + shelf.waited
        message = receive(channel, longest=longest, until=until)
        if "load" not in message:
            return message
        found = shelf.get(message["load"])
        send(channel, found and asdict(found))


def _accepted(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        kind = _ERROR_CLASSES[answer["error"]]
        raise kind(answer["message"], name=answer["name"], lineno=answer["lineno"])
    return answer


def _ending(status: socket.socket, limits: Limits) -> TemplateError:
    status.settimeout(2)
    try:
        data = status.recv(STATUS.size)
    except OSError as error:
        raise _HelperGone from error
    if not data:
        raise _HelperGone
    code = os.waitstatus_to_exitcode(*STATUS.unpack(data))
    if code in (-signal.SIGPROF, -signal.SIGXCPU):
        return RenderLimit(f"CPU time over {limits.seconds:g} s")
    if code < 0:
        return RenderLimit(f"the rendering process was killed by {signal.Signals(-code).name}")
    return TemplateError(f"the rendering process ended with code {code}")
