"""Which server, who, and where: from the options, the profile and the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from typer import Context

from kinto_orm import Session
from kinto_orm.cli.asking import ask_secret
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import Output, tell
from kinto_orm.cli.profiles import Profile, Profiles
from kinto_orm.cli.waiting import Waiting

IN_FILES = ("sqlite", "local")
"""The schemes of servers whose data is in a file or a directory of this machine."""


@dataclass(frozen=True)
class Settings:
    """What a command is told of where it works.

    Attributes:
        server: The server's URL.
        auth: "user:password", "Bearer token", or a user alone, whose password is asked for.
        bucket: The default bucket's id.
        collection: The default collection's id.
        profile: A name in the profile file.
        as_json: Whether the output is for a script.
    """

    server: str | None = None
    auth: str | None = None
    bucket: str | None = None
    collection: str | None = None
    profile: str | None = None
    as_json: bool = False

    @property
    def output(self) -> Output:
        """Where what is asked for goes."""
        return Output(as_json=self.as_json)

    def resolved(self) -> Settings:
        """The same with what the profile and the environment say besides.

        An option counts most, then the profile that is named, then the variables KINTO_ORM_SERVER
        and KINTO_ORM_AUTH, then the default profile. Credentials go with their server only.

        Raises:
            Misuse: No server is given, or the profile cannot be used.
        """
        found = self.found()
        if found is None:
            raise Misuse(
                "no server: give --server URL, --profile NAME, or the variable KINTO_ORM_SERVER; "
                "`kinto-orm login` keeps one, `kinto-orm serve` starts one"
            )
        secret = found.auth.get_secret_value() if found.auth else None
        return replace(
            self,
            server=found.server,
            auth=_with_password(found.server, self.auth or secret),
            bucket=self.bucket or found.bucket,
            collection=self.collection or found.collection,
        )

    def found(self) -> Profile | None:
        """The server that is meant, and what is known of it; None when nothing names one.

        Raises:
            Misuse: The profile cannot be used.
        """
        profiles = Profiles.read()
        if self.server is not None and self.profile is not None:
            raise Misuse("--server and --profile both name a server: give one")
        by_environment = _of_environment()
        if self.server is not None:
            known = [each for each in (by_environment, profiles.of_server(self.server)) if each]
            same = (each for each in known if each.is_of(self.server))
            return next(same, Profile(server=self.server))
        if self.profile is not None:
            return profiles.get(self.profile)
        if by_environment is None and profiles.default is not None:
            return profiles.get(profiles.default)
        return by_environment

    @contextmanager
    def session(
        self, *, makes: bool = False, plans: bool = False, reads: bool = False
    ) -> Iterator[Session]:
        """The session that these settings mean, as the current one.

        Args:
            makes: Whether a Kinto in a file that is not there is made, because something is to be
                put into it. It is said then. For all else the name is wrong.
            plans: Whether it is only to be said what would be put into it: an empty Kinto in memory
                takes the place of a file that is not there.
            reads: Whether nothing is written: Kinto would make the personal bucket, and
                collections in it, for whoever only looks into them.

        Raises:
            Misuse: No server is given, or the profile cannot be used; or there is no such file.
        """
        with self.resolved().opened(makes=makes, plans=plans, reads=reads) as session:
            yield session

    @contextmanager
    def opened(
        self, *, makes: bool = False, plans: bool = False, reads: bool = False
    ) -> Iterator[Session]:
        """The session that these settings mean as they are, once they are resolved.

        Args:
            makes: As of `session`.
            plans: As of `session`.
            reads: As of `session`.
        """
        missing = _missing(self.server or "")
        if missing and not (makes or plans):
            raise _no_file(missing)
        if missing and plans:
            tell(f"there is no {missing}: it would be made")
        try:
            with Session(
                "memory://" if missing and plans else self.server,
                auth=self.auth,
                bucket=self.bucket or "default",
                collection=self.collection,
                on_request=Waiting(),
                # A key's server makes nothing for who looks, and cannot be pretended to.
                dry_run=reads and not (self.server or "").startswith("kvp"),
            ) as session:
                yield session
        finally:
            if missing and missing.exists() and not _removed(missing):
                tell(f"made {missing}, which was not there")


def settings_of(ctx: Context) -> Settings:
    """What the options of the program say."""
    settings = ctx.find_object(Settings)
    if settings is None:
        raise LookupError("the program's options were not read")
    return settings


def refuse_missing(server: str) -> None:
    """Refuse a Kinto in a file or a directory that is not there.

    Raises:
        Misuse: It is not.
    """
    missing = _missing(server)
    if missing:
        raise _no_file(missing)


def _missing(server: str) -> Path | None:
    """The file or directory that keeps the data, if it is not there; None of other servers."""
    parts = urlsplit(server)
    # sqlite:///a.db is relative, and local:///a is /a.
    path = unquote(parts.path.removeprefix("/") if parts.scheme == "sqlite" else parts.path)
    if parts.scheme not in IN_FILES or not path or Path(path).exists():
        return None
    return Path(path)


def _removed(made: Path) -> bool:
    """Remove a file again into which nothing was put, because that was refused."""
    if not made.is_file():
        return False  # a directory with a PostgreSQL in it
    from kinto_orm.server.sqlite.files import remove_unused

    return remove_unused(made)


def _no_file(missing: Path) -> Misuse:
    return Misuse(
        f"there is no {missing}, and only what puts something into it makes it, such as "
        "kinto-orm put /buckets/NAME '{}', or load. Nothing was done"
    )


def _of_environment() -> Profile | None:
    server = os.environ.get("KINTO_ORM_SERVER")
    if not server:
        return None
    return Profile.model_validate(
        {"server": server, "auth": os.environ.get("KINTO_ORM_AUTH") or None}
    )


def _with_password(server: str, auth: str | None) -> str | None:
    """The credentials, with the password asked for at the terminal when it is missing."""
    if auth is None or ":" in auth or " " in auth:
        return auth
    if server.startswith("kvp"):
        return f"{auth}:"  # an API key has no password
    if not sys.stdin.isatty():
        raise Misuse("no password: give --auth user:password; at a terminal it is asked for")
    return f"{auth}:{ask_secret(f'Password of {auth}: ')}"
