"""What `doctor` looks at, one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import requests

from kinto_orm import Forbidden, KintoError, Record, ServerInfo, Session, Unauthorized
from kinto_orm.cli.racing import Races, race, scratch
from kinto_orm.cli.wording import said_of

State = Literal["ok", "note", "problem"]

_CLOCKS_APART = 5.0
_SLOW = 0.5
_SMALL_BATCH = 25
_SMALL_PAGE = 100
_ASKED_FOR = 10_000


@dataclass(frozen=True)
class Finding:
    """What was found in one respect.

    Attributes:
        check: What was looked at.
        state: "ok", "note" (it may be meant so) or "problem".
        found: What was found.
        remedy: What to do; None where nothing is to be done.
    """

    check: str
    state: State
    found: str
    remedy: str | None = None


@dataclass(frozen=True)
class Patient:
    """What is looked at.

    Attributes:
        session: On the server.
        racing: The same without trying again, for what is tried.
        has_auth: Whether there are credentials.
        models: The names of models, with them.
        writes: Whether things may be tried that write.
    """

    session: Session
    racing: Session
    has_auth: bool
    models: Sequence[tuple[str, type[Record]]]
    writes: bool


def findings(patient: Patient) -> Iterator[Finding]:
    """All findings, as they come.

    Raises:
        TransportError: The server does not answer.
    """
    session = patient.session
    if session.dialect == "kvp":
        yield Finding("server", "ok", f"{session.server_url} speaks kvp.io's protocol")
        yield _user(patient, None)
        yield from (_clock(session), _round_trip(session))
        return
    info = session.server_info()
    yield Finding("server", "ok", f"{session.server_url} answers; Kinto {info.version}".strip())
    yield _user(patient, info)
    yield from (_clock(session), _round_trip(session))
    yield from _plugins(session, info)
    yield _batch(info)
    yield _read_only(info)
    yield from _tried(patient, info)
    yield from (_schema(session, name, model) for name, model in patient.models)


def _user(patient: Patient, info: ServerInfo | None) -> Finding:
    """Who one is; a wrong password is answered on the root page as if there were none."""
    try:
        return Finding("user", "ok", f"you are {patient.session.account().id}")
    except Unauthorized:
        if not patient.has_auth and info is not None:
            return Finding("user", "note", "you are nobody", "give --auth, or `kinto-orm login`")
    return Finding(
        "user",
        "problem",
        "the server recognises nobody by these credentials",
        "check user and password, or the token: `kinto-orm login` tries and keeps others",
    )


def _clock(session: Session) -> Finding:
    """The server's clock beside this one."""
    url = session.server_url.removeprefix("kvp+")
    if not url.startswith("http"):
        return Finding("clock", "ok", "the server is in this process: one clock")
    try:
        apart = _clocks_apart(url)
    except (requests.RequestException, ValueError):
        return Finding("clock", "note", "the server does not say what time it has")
    if abs(apart) <= _CLOCKS_APART:
        return Finding("clock", "ok", f"the same as here, to {_CLOCKS_APART:.0f} s")
    return Finding(
        "clock",
        "problem",
        f"the server's is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this one",
        "set both by NTP: `last_modified`, history and `restore --at` are the server's time",
    )


def _clocks_apart(url: str) -> float:
    """How many seconds the server's clock is ahead, by the header Date of its answer.

    Without credentials, also without those of a file .netrc.
    """
    began = time.time()
    reply = requests.get(url, auth=lambda request: request, timeout=(3, 10), allow_redirects=False)
    ended = time.time()
    told: datetime = parsedate_to_datetime(reply.headers.get("Date", ""))
    return told.timestamp() + 0.5 - (began + ended) / 2


def _round_trip(session: Session) -> Finding:
    """The median of some requests for the root page, or for the account of a kvp.io server."""
    median = statistics.median(_seconds(session.account) for _ in range(5))
    if median <= _SLOW:
        return Finding("round trip", "ok", f"{1000 * median:.0f} ms")
    return Finding(
        "round trip",
        "note",
        f"{1000 * median:.0f} ms",
        "save many objects with save_all(workers=8), or in a batch: each request costs that much",
    )


def _seconds(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    with suppress(Unauthorized):  # an answer, too
        ask()
    return time.perf_counter() - began


def _plugins(session: Session, info: ServerInfo) -> Iterator[Finding]:
    """What the library's verbs need of Kinto's plugins."""
    yield _plugin(info, "history", "problem", "history, diff and restore")
    is_needed = session.bucket == "default"
    personal = "personal buckets; give --bucket instead" if is_needed else "personal buckets"
    yield _plugin(info, "default_bucket", "problem" if is_needed else "note", personal)


def _plugin(info: ServerInfo, name: str, state: State, needed_for: str) -> Finding:
    if name in info.capabilities:
        return Finding(f"plugin {name}", "ok", "on")
    return Finding(
        f"plugin {name}",
        state,
        f"off: it is needed for {needed_for}",
        f"add kinto.plugins.{name} to kinto.includes in the server's settings",
    )


def _batch(info: ServerInfo) -> Finding:
    size = info.settings.get("batch_max_requests")
    if isinstance(size, int) and size < _SMALL_BATCH:
        return Finding(
            "batch",
            "note",
            f"at most {size} requests in a batch",
            f"set kinto.batch_max_requests = {_SMALL_BATCH} or more: bulk work is quicker",
        )
    return Finding("batch", "ok", f"at most {size or 'any number of'} requests in a batch")


def _read_only(info: ServerInfo) -> Finding:
    if info.settings.get("readonly") is True:
        return Finding(
            "writing",
            "note",
            "the server is read-only: it refuses all that writes",
            "set kinto.readonly = false if that is not meant",
        )
    return Finding("writing", "ok", "the server takes writes")


def _tried(patient: Patient, info: ServerInfo) -> Iterator[Finding]:
    """What only a try can tell, in a scratch bucket."""
    if not patient.writes:
        yield _not_tried("--no-writes was given", None)
        return
    if info.settings.get("readonly") is True:
        yield _not_tried("the server is read-only", None)
        return
    try:
        with scratch(patient.racing) as place:
            races = race(place)
            page = next(Record.find(session=place).page_size(_ASKED_FOR).pages())
    except (Forbidden, Unauthorized):
        yield _not_tried("you may not make a bucket to try it in", "ask as a user who may")
    except KintoError as error:
        yield Finding(
            "isolation",
            "problem",
            f"it could not be tried: {said_of(error)}",
            "try again; see above",
        )
    else:
        yield _isolation(races)
        yield _pages(len(page), races.kept)


def _not_tried(why: str, remedy: str | None) -> Finding:
    return Finding("isolation", "note", f"not tried: {why}", remedy)


def _isolation(races: Races) -> Finding:
    if not races.lost and not races.is_sure:
        return Finding(
            "isolation",
            "note",
            f"none of {races.writes} writes was lost, but the server validates no schemas, so that "
            "the writers had little time to meet: that of a memory backend with several threads "
            "would not be noticed",
            "let it run with one thread, if its storage_backend is kinto.core.storage.memory",
        )
    if not races.lost:
        found = f"writers raced for the same records, and none of {races.writes} writes was lost"
        return Finding("isolation", "ok", found)
    return Finding(
        "isolation",
        "problem",
        f"of {races.writes} writes with If-Match that the server took, {races.lost} were "
        "overwritten by others with the same If-Match: updates get lost",
        "on PostgreSQL set kinto.storage_isolation_level = REPEATABLE READ; Kinto's memory "
        "backend is safe with one thread only",
    )


def _pages(first: int, all: int) -> Finding:
    if first >= all:
        return Finding("pages", "ok", f"of {all} objects all came in one page")
    if first >= _SMALL_PAGE:
        return Finding("pages", "ok", f"{first} objects in a page")
    return Finding(
        "pages",
        "note",
        f"only {first} objects in a page",
        "raise kinto.paginate_by, or leave it out: reading much is quicker",
    )


def _schema(session: Session, name: str, model: type[Record]) -> Finding:
    """Whether the collection's schema is that of the model."""
    check = f"schema of {name}"
    try:
        plan = session.sync_schema(model, dry_run=True)
    except KintoError as error:
        return Finding(check, "problem", said_of(error), "see the message")
    if plan:
        return Finding(check, "problem", str(plan), f"kinto-orm schema apply {name}")
    return Finding(check, "ok", "the collection's is that of the model")
