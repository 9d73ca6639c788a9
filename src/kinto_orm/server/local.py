"""A Kinto whose data stays in a directory, in a PostgreSQL of its own."""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.embedded import EmbeddedServer, build, own_user, plain
from kinto_orm.server.postgres import Postgres, require_programs
from kinto_orm.server.quiet import extra
from kinto_orm.wire.forking import call_in_children

if TYPE_CHECKING:
    from kinto_orm.server.application import Application

_SECRET = "userid_hmac_secret"  # noqa: S105
_open: dict[Path, _Directory] = {}
_opening = threading.Lock()


@call_in_children
def _begin_anew() -> None:
    """Leave the open directories to the parent, in a forked child, which may open them itself."""
    global _opening  # noqa: PLW0603
    _opening = threading.Lock()
    for shared in _open.values():
        shared.leave_to_parent()
    _open.clear()


def open_local(
    directory: str | os.PathLike[str],
    *,
    settings: Mapping[str, str] | None = None,
    durable: bool = True,
) -> EmbeddedServer:
    """Open the Kinto whose data is in a directory, made when missing.

    Threads and processes may open the same directory; they share one PostgreSQL, which stops
    when the last of them closes. It goes on when they are all killed, and the next to open
    the directory takes it over. When PostgreSQL was killed, opening the directory once more
    starts it again for all. Of two writers who meet, one gets the status 503.

    As root, PostgreSQL runs as the directory's owner, or as the user `pgserver`, made when
    missing; the directories above PostgreSQL's programs are then opened for passing (o+x).

    Args:
        directory: In it are `postgres`, PostgreSQL's data, and `secret`, from which the ids of
            users derive; both are for the owner only.
        settings: Kinto's settings by name, merged over the server's own;
            `kinto.includes` adds plugins to its own.
        durable: Wait for the disk at each write. False may lose everything when the machine
            stops: for tests. Whoever starts PostgreSQL decides.

    Raises:
        ConfigurationError: The extra `server` is not installed, the directory cannot be used,
            or this process has it open with other settings.
    """
    path = Path(directory).expanduser().resolve()
    with _opening:
        shared = _open.get(path)
        if shared is None:
            shared = _open[path] = _Directory(path, plain(settings), durable=durable)
        elif shared.settings != plain(settings):
            raise ConfigurationError(f"{path} is open in this process with other settings")
        else:
            shared.revive()
        shared.users += 1
    return shared.entrance()


class _Directory:
    """What the servers of this process that are open on one directory share."""

    users = 0

    def __init__(self, path: Path, settings: dict[str, str], *, durable: bool) -> None:
        self.settings = settings
        self.turn = threading.Lock()
        self._path = path
        self._process = os.getpid()
        self._postgres = Postgres(path / "postgres", durable=durable)
        require_programs()  # before anything is made
        with ExitStack() as undo:
            undo.callback(_remove_empty, _missing(path, *path.parents))
            self._lock = _open_directory(path)
            undo.callback(os.close, self._lock)
            with _exclusive(self._lock):
                self._open(path, undo)
            undo.pop_all()
        atexit.register(self._close)

    def _open(self, path: Path, undo: ExitStack) -> None:
        """Make or find what is in the directory, and start; what was made goes when that fails."""
        new = _missing(path / "secret", path / "postgres")
        try:
            self._secret = _open_secret(path / "secret")
            fcntl.flock(self._secret, fcntl.LOCK_SH)
            undo.callback(self._let_go)
            self._postgres.start()
            self.application, self.auth = self._build()
        except BaseException:
            # Nobody else can use what is new: the directory is locked.
            if path / "postgres" in new:
                with suppress(ConfigurationError):  # the first error says more
                    self._postgres.stop()
            _remove(new)
            raise

    def revive(self) -> None:
        """Start PostgreSQL again if it was killed; the servers that are open go on with it."""
        with _exclusive(self._lock):
            self._postgres.start()

    def entrance(self) -> EmbeddedServer:
        """Make one server of those that share this directory."""
        return EmbeddedServer(
            self.application,
            self.auth,
            turn=self.turn,
            concurrent=True,
            on_close=self.leave,
        )

    def leave(self) -> None:
        """Close the directory when the last server of this process is closed."""
        with _opening:
            self.users -= 1
            if self.users == 0:
                del _open[self._path]
                atexit.unregister(self._close)
                self._close()

    def leave_to_parent(self) -> None:
        """Let go of all that is the parent's, in a forked child.

        While a child has the descriptors, the parent's locks stay when the parent has closed them.
        """
        os.close(self._secret)
        os.close(self._lock)
        self.application.forget_connections()

    def _build(self) -> tuple[Application, tuple[str, str]]:
        with extra():
            from kinto_orm.server.application import postgresql_settings
        secret = self.settings.get(_SECRET) or os.pread(self._secret, 1000, 0).decode()
        application = build(postgresql_settings(self._postgres.url), secret, self.settings)
        application.migrate()
        return application, own_user(secret)

    def _close(self) -> None:
        if os.getpid() != self._process:
            return  # a fork: the locks and the connections are its parent's
        self.application.disconnect()
        self._let_go()
        os.close(self._lock)

    def _let_go(self) -> None:
        """Stop PostgreSQL, unless another process has the directory open.

        Each process that has it open shares a lock on the secret. The system drops the lock
        of a process that was killed.
        """
        try:
            with _exclusive(self._lock):
                fcntl.flock(self._secret, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._postgres.stop()
        except BlockingIOError:
            return
        finally:
            self._postgres.release()
            os.close(self._secret)


def _missing(*paths: Path) -> list[Path]:
    return [each for each in paths if not each.exists()]


def _remove(made: Iterable[Path]) -> None:
    """Remove files and directories, and what was to become them."""
    for each in made:
        for path in (each, each.with_name(each.name + ".new")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _remove_empty(made: Iterable[Path]) -> None:
    """Remove directories, the innermost first, up to one in which there is something."""
    with suppress(OSError):
        for each in made:
            each.rmdir()


def _open_directory(path: Path) -> int:
    """Make the directory when missing; return a descriptor on which to lock it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used as a directory: {error}") from error


def _open_secret(path: Path) -> int:
    """Make the secret when missing; return a descriptor to read and to lock it."""
    try:
        if not path.exists():
            _write_secret(path)
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"the directory {path.parent} is not yours: {error}") from error


def _write_secret(path: Path) -> None:
    """Write a new secret; the file gets its name when it is complete."""
    new = path.with_name("secret.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
        file.flush()
        os.fsync(descriptor)
    new.rename(path)


@contextmanager
def _exclusive(descriptor: int) -> Iterator[None]:
    """Let one process at a time start, migrate and stop PostgreSQL."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
