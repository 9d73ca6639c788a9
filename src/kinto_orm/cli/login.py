"""`login`: credentials that are tried, then kept in the profile file."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import SecretStr
from typer import Context, Option

from kinto_orm import Account, Session
from kinto_orm.cli.asking import ask, ask_secret
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import tell
from kinto_orm.cli.profiles import Profile, Profiles
from kinto_orm.cli.settings import IN_FILES, Settings, refuse_missing, settings_of
from kinto_orm.cli.waiting import Waiting


def login(
    ctx: Context,
    name: Annotated[
        str | None, Option(help="What to call it, for --profile  [default: the server's host]")
    ] = None,
    token: Annotated[bool, Option("--token", help="Log in with a token, no password")] = False,
    force: Annotated[bool, Option("--force", help="Replace one of another server")] = False,
) -> None:
    """Try a password or a token at a server, and keep it in the profile file.

    What is missing is asked for, without showing it, or read from standard input: the password in
    a line of its own after --auth USER, else "user:password", or the token after --token.

    Examples:
        kinto-orm login --server https://kinto.example/v1
        kinto-orm login --server https://kinto.example/v1 --auth ada --name work
        kinto-orm login --server https://kinto.example/v1 --token < token.txt
        kinto-orm login --server kvp+https://api.kvp.io
    """
    settings = settings_of(ctx)
    profiles = Profiles.read()
    server = _server(settings)
    kept_as = name or settings.profile or _name_of(server, profiles)
    before = _check_name(profiles, kept_as, server, force=force)
    refuse_missing(server)
    auth = _credentials(server, settings.auth, token=token)
    with Session(server, auth=auth, on_request=Waiting()) as session:
        account = session.account()
        is_no_account = auth is not None and _is_no_account(session, account)
    profile = Profile(
        server=server,
        auth=SecretStr(auth) if auth else None,
        bucket=settings.bucket or (before.bucket if before else None),
        collection=settings.collection or (before.collection if before else None),
    )
    profiles.keep(kept_as, profile)
    _tell_who(settings, account, is_no_account=is_no_account)
    _tell_how(kept_as, profiles.default or kept_as, profiles)


def _server(settings: Settings) -> str:
    """Where to log in: at the server of the options or the profile, or the one that is typed."""
    known = replace(settings, auth=None).found()
    if known is None and not sys.stdin.isatty():
        raise Misuse("no server: give --server URL")
    server = ask("Server (https://host/v1): ") if known is None else known.server
    if "@" in urlsplit(server).netloc:
        # It is shown in many places.
        raise Misuse("leave user and password out of the URL: give --auth user, or what is asked")
    return server


def _name_of(server: str, profiles: Profiles) -> str:
    """The name under which the server is known already, or that of its host or file."""
    known = [name for name, each in profiles.named.items() if each.is_of(server)]
    if len(known) > 1:
        raise Misuse(f"{' and '.join(sorted(known))} are of this server: say which by --name")
    parts = urlsplit(server)
    return (known or [parts.hostname or parts.path.rsplit("/", 1)[-1]])[0]


def _check_name(profiles: Profiles, name: str, server: str, *, force: bool) -> Profile | None:
    """The profile that is to be replaced, if it may be."""
    if not name or name == "default":
        raise Misuse(f"a profile cannot be called {name!r}: give another --name")
    before = profiles.named.get(name)
    if before is None or before.is_of(server):
        return before
    if not force:
        raise Misuse(
            f"the profile {name!r} is of {before.server}: give another --name, or --force to "
            "replace it"
        )
    return None


def _credentials(server: str, auth: str | None, *, token: bool) -> str | None:
    """What says who one is; asked for where the options do not say it."""
    scheme = urlsplit(server).scheme
    if auth is not None and (":" in auth or " " in auth.strip()):
        return auth
    if token:
        return f"Bearer {_secret('Token: ')}"
    if scheme.startswith("kvp"):
        return f"{auth or _secret('API key: ')}:"
    if auth is not None:
        return f"{auth}:{_secret(f'Password of {auth}: ')}"
    if scheme in IN_FILES:
        return None  # it has a user of its own
    return _user_and_password()


def _user_and_password() -> str:
    if sys.stdin.isatty():
        user = ask("User: ")
        if ":" in user:
            raise Misuse("a user's name has no colon in it: the password is asked for next")
        return f"{user}:{_secret(f'Password of {user}: ')}"
    line = _line()
    if ":" not in line and " " not in line:
        raise Misuse(
            'standard input has to give "user:password", or the password alone with --auth USER, '
            "or a token with --token"
        )
    return line


def _secret(prompt: str) -> str:
    """What must not be seen: asked for at the terminal, else the first line of the input."""
    if sys.stdin.isatty():
        return ask_secret(prompt)
    given = _line()
    if not given:
        raise Misuse("standard input gives nothing: nothing is kept")
    return given


def _line() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _is_no_account(session: Session, account: Account) -> bool:
    """Whether a server with accounts knows none of this password.

    Kinto's policy `basicauth` takes any password then, and makes another user of each.
    """
    return (
        session.dialect == "kinto"
        and account.id.startswith("basicauth:")
        and "accounts" in session.server_info().capabilities
    )


def _tell_who(settings: Settings, account: Account, *, is_no_account: bool) -> None:
    if settings.as_json:
        settings.output.value({"user": account.id})
    else:
        settings.output.line(f"You are {account.id}.")
    if is_no_account:
        tell(
            "This server takes any password, and each is a user of its own. If you have an account "
            "there, the password was not that of your account."
        )


def _tell_how(name: str, default: str, profiles: Profiles) -> None:
    how = "taken when no server is given" if name == default else f"use it by --profile {name}"
    tell(f"kept as {name!r} in {profiles.path}; {how}")
