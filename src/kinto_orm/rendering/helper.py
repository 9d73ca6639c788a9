"""The helper process that forks a child for each isolated render, as its starter sees it."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from kinto_orm.errors import ConfigurationError, RenderBusy
from kinto_orm.rendering.places import MOST, Places
from kinto_orm.rendering.worker import STATUS

_PACKAGE = Path(__file__).absolute().parents[1]

# The package's own __init__ is left out: rendering needs nothing of it.
_START = """
import sys, types
sys.path[:] = sys.argv[3:]
package = sys.modules["kinto_orm"] = types.ModuleType("kinto_orm")
package.__path__ = [sys.argv[2]]
from kinto_orm.rendering import Renderer, worker
worker.serve(int(sys.argv[1]), Renderer)
"""


class HelperGone(Exception):
    """The helper process ended before it could fork, or while the child ran."""


class Child:
    """A child, as its caller sees it.

    Args:
        channel: The socket to talk to it.
        status: The socket by which the helper tells how it ended.
    """

    def __init__(self, channel: socket.socket, status: socket.socket) -> None:
        self.channel = channel
        self._status = status

    def end(self) -> int | None:
        """Wait until it has ended, killed or not, and give its code; None without a helper."""
        with contextlib.suppress(OSError):
            # The helper kills it when it sees this. To close would not do: a process that was
            # forked from this one may hold the socket, too.
            self._status.shutdown(socket.SHUT_WR)
            self._status.settimeout(2)
            data = self._status.recv(STATUS.size)
            return os.waitstatus_to_exitcode(*STATUS.unpack(data)) if data else None
        return None

    def close(self) -> None:
        """Let go of it."""
        self.channel.close()
        self._status.close()


class Helper:
    """The helper process, as its starter sees it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        paths = [os.path.abspath(path) for path in sys.path]
        fd, package = str(theirs.fileno()), str(_PACKAGE)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-W", "ignore", "-c", _START, fd, package, *paths],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        if not self._control.recv(1):
            self.stop()
            raise ConfigurationError(
                "the helper process for isolated rendering did not start:"
                f" {sys.executable} ended with code {self._process.returncode}"
            )

    def fork(self) -> Child:
        """Get a new child."""
        (channel, their_channel), (status, their_status) = socket.socketpair(), socket.socketpair()
        with their_channel, their_status:
            try:
                socket.send_fds(
                    self._control, [b"r"], [their_channel.fileno(), their_status.fileno()]
                )
            except OSError as error:
                channel.close()
                status.close()
                raise HelperGone from error
        return Child(channel, status)

    def stop(self) -> None:
        """End the process and its children."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Let go of it in a fork of this process: it is the parent's, not ours to end."""
        self._control.close()
        self._process.returncode = 0


class Shared:
    """The one helper of this process, started when it is first needed, and its places."""

    def __init__(self) -> None:
        self.places = Places(MOST)
        self._lock = threading.RLock()
        self._helper: Helper | None = None
        self._children: set[Child] = set()
        # Nobody forks while a helper is being started: the fork would hold its socket.
        os.register_at_fork(
            before=self._lock.acquire,
            after_in_parent=self._lock.release,
            after_in_child=self._forget,
        )
        atexit.register(self.stop)

    def get(self) -> Helper:
        """Give the helper."""
        with self._lock:
            if self._helper is None:
                self._helper = Helper()
            return self._helper

    def replace(self, gone: Helper) -> None:
        """End a helper that is of no use; the next one who needs one starts another."""
        with self._lock:
            if self._helper is gone:
                self._helper = None
                gone.stop()

    def stop(self) -> None:
        """End the helper."""
        if self._helper is not None:
            self.replace(self._helper)

    @contextlib.contextmanager
    def place(self, patience: float) -> Iterator[None]:
        """Hold a place while a child lives."""
        places = self.places
        if not places.take(patience):
            raise RenderBusy(
                f"no process was free within {patience:g} s, since {MOST} renders are going on:"
                " try again later"
            )
        try:
            yield
        finally:
            places.give_back()

    @contextlib.contextmanager
    def child(self, helper: Helper) -> Iterator[Child]:
        """A new child, which has ended afterwards."""
        child = helper.fork()
        self._children.add(child)
        try:
            yield child
        finally:
            child.end()
            self._children.discard(child)
            child.close()

    def _forget(self) -> None:
        """Begin anew in a fork of this process: places, children and helper are the parent's."""
        self.places = Places(MOST)
        for child in self._children:
            child.close()
        self._children = set()
        if self._helper is not None:
            self._helper.forget()
            self._helper = None
        self._lock.release()


shared: Shared | None = Shared() if sys.platform == "linux" else None
"""None where there can be no helper."""
