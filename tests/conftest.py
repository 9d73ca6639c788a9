"""Fixtures: a test that asks for `backend` runs in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from faults import FaultyServer
from kinto_orm import Bucket, Session
from kinto_orm.server import EmbeddedServer, LoopbackServer, open_local, open_sqlite, serve
from kinto_orm.server.named import open_named
from trust.share import share_of

# The machines that run the tests are slow now and then; no test is about time. Examples are the
# same each time, so that what passed goes on passing; `make explore` tries others.
settings.register_profile(
    "same",
    deadline=None,
    suppress_health_check=list(HealthCheck),
    max_examples=25,
    derandomize=True,
)
settings.register_profile(
    "explore", settings.get_profile("same"), max_examples=500, derandomize=False
)
settings.load_profile("same")

# A shell lets what it starts in the background ignore Ctrl-C. The programs that tests start and
# interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.pop("KINTO_ORM_SERVER", None)
os.environ.pop("KINTO_ORM_AUTH", None)
os.environ["NO_PROXY"] = "127.0.0.1"

# The fixtures of tests that run on both sessions, and of the program's.
pytest_plugins = ["both", "program"]

# The rooms whose tests ask what a store answers run on a file, too.
_ON_THREE = {"bulk", "kv", "queries", "server", "sqlite", "trust", "cli", "web_page"}
# These ask what the client makes of what a server says, or of a model, whichever the store is.
_ON_MEMORY = {
    # The commands of a family have the library's own way below them.
    "cli/test_granting.py",
    "cli/test_info.py",
    "cli/test_keys.py",
    "cli/test_models.py",
    "cli/test_objects.py",
    "cli/test_removing.py",
    "cli/test_schema.py",
    "cli/test_templating.py",
    "cli/test_watching.py",
    "test_account.py",
    "test_bars.py",
    "test_changes.py",
    "test_faults.py",
    "test_fidelity.py",
    "test_generated_models.py",
    "test_habits.py",
    "test_kv_faults.py",
    "test_kv_lists.py",
    "test_missing.py",
    "test_options.py",
    "test_places.py",
    "test_pristine.py",
    "test_readback.py",
    "test_repeated.py",
    "test_shown.py",
    "test_two_writers.py",
    "test_whose_write.py",
}

# What blocks runs on each store, what is awaited over sockets.
_LEFT_OUT = {(False, "http"), (True, "memory"), (True, "sqlite"), (True, "postgres")}

_ELSEWHERE = frozenset({"sqlite", "postgres", "http"})
CASES_ELSEWHERE = 4
"""Of a test's cases one in so many runs on a store that is not in memory."""

_numbers = itertools.count(1)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of the time the tests wait, for servers and clocks."""
    return (os.cpu_count() or 1) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `make record` and of `make trust`."""
    parser.addoption(
        "--record", action="store_true", help="record the cassettes anew from a real Kinto"
    )
    parser.addoption(
        "--everywhere", action="store_true", help="on every pair of a session and a store"
    )
    parser.addoption("--rounds", type=int, default=5, help="how often each race is run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what others show already, so that the tests take ten minutes.

    Of the stores: those that a test does not ask. Of what runs on both sessions: some pairs
    of session and server. Of a test's cases: all run in memory, and one in so many elsewhere.
    `--everywhere` leaves out nothing.
    """
    if config.getoption("--everywhere"):
        return
    left = [item for item in items if not (_asks_another(item) or _is_shown_by_others(item))]
    cases: dict[tuple[str, frozenset[str]], list[str]] = {}
    for item in left:
        test, _, case = item.nodeid.partition("[")
        if elsewhere := _ELSEWHERE.intersection(case.rstrip("]").split("-")):
            cases.setdefault((test, elsewhere), []).append(item.nodeid)
    many = {id for ids in cases.values() for id in ids}
    chosen = {id for ids in cases.values() for id in share_of(ids, CASES_ELSEWHERE)}
    items[:] = [item for item in left if item.nodeid in chosen or item.nodeid not in many]


def _asks_another(item: pytest.Item) -> bool:
    """Whether it runs on a store of which it asks nothing."""
    left_out = {"sqlite"} if item.path.parent.name not in _ON_THREE else set()
    if not _ON_MEMORY.isdisjoint([item.path.name, f"{item.path.parent.name}/{item.path.name}"]):
        left_out = {"sqlite", "postgres"}
    return not left_out.isdisjoint(item.nodeid.partition("[")[2].rstrip("]").split("-"))


def _is_shown_by_others(item: pytest.Item) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    server = params.get("server_name")
    if params.get("anywhere") == "kvp":
        return server != "memory"  # it has a server of its own
    asked_for = any("server_name" in mark.args[0] for mark in item.iter_markers("parametrize"))
    return (params.get("place"), server) in _LEFT_OUT and not asked_for


@pytest.fixture(scope="session")
def one_in(request: pytest.FixtureRequest) -> int:
    """Of the writes of many writers, one in so many: `make trust` does all of them."""
    return 1 if request.config.getoption("--rounds") >= 200 else 4


class Backend:
    """A running Kinto, and sessions on it.

    Attributes:
        name: "memory", "sqlite" or "postgres".
        url: What a Session is opened with; sessions of one URL see the same data.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url

    def session(self, **options: Any) -> Session:
        """A session on this server, as its own user when no auth is given."""
        return Session(self.url, **options)

    def new_id(self, prefix: str = "b") -> str:
        """An id that no test has used on this server."""
        return f"{prefix}{next(_numbers)}"


_shared: list[EmbeddedServer] = []


@contextmanager
def emptied_by_each_file(server: EmbeddedServer) -> Iterator[None]:
    """Let each file of tests find the server empty."""
    _shared.append(server)
    yield
    _shared.remove(server)


@pytest.fixture(scope="module", autouse=True)
def empty() -> None:
    """Empty the servers of the whole run: Kinto in memory walks through all that others left."""
    for server in _shared:
        server.flush()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedServer]:
    """A Kinto on PostgreSQL, for the whole run."""
    with (
        tempfile.TemporaryDirectory(prefix="kinto-orm-") as directory,
        open_local(Path(directory) / "data", durable=False) as server,
        emptied_by_each_file(server),
    ):
        server.url = f"local://{Path(directory).resolve()}/data"  # type: ignore[attr-defined]
        yield server


@pytest.fixture(scope="session")
def memory() -> Iterator[Session]:
    """A Kinto in memory, for the whole run."""
    with (
        open_named("tests") as server,
        emptied_by_each_file(server),
        closing(Session("memory://tests")) as session,
    ):
        yield session


@pytest.fixture(scope="session")
def sqlite() -> Iterator[EmbeddedServer]:
    """A Kinto in a file, for the whole run."""
    with tempfile.TemporaryDirectory(prefix="kinto-orm-") as directory:
        path = Path(directory).resolve() / "app.db"
        with open_sqlite(path, durable=False) as server, emptied_by_each_file(server):
            server.url = f"sqlite:///{path}"  # type: ignore[attr-defined]
            yield server


@pytest.fixture(scope="session", params=["memory", "sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """A Kinto, once in memory, once in a file and once on PostgreSQL."""
    server = request.getfixturevalue(request.param)
    url = "memory://tests" if request.param == "memory" else server.url
    return Backend(request.param, url)


@pytest.fixture
def session(blocking: Session) -> Session:
    """The current session; a module whose tests run on both takes `either` under this name."""
    return blocking


@pytest.fixture
def blocking(backend: Backend) -> Iterator[Session]:
    """The current session, in a bucket of its own with the collection `todos`."""
    with backend.session(bucket=backend.new_id()) as session:
        Bucket(id=session.bucket).save().collections.new(id="todos").save()
        yield session


class Wire(AuthBase):
    """Credentials that write down each request they are put on.

    Attributes:
        requests: All of them, as they were sent.
        session: The session that uses them.
    """

    session: Session

    def __init__(self, user: str = "alice") -> None:
        self.requests: list[PreparedRequest] = []
        self._basic = HTTPBasicAuth(user, "s3cret")

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        self._basic(request)
        self.requests.append(request)
        return request

    def clear(self) -> None:
        """Forget what was sent."""
        self.requests.clear()

    @property
    def methods(self) -> list[str]:
        """The methods of what was sent."""
        return [str(request.method) for request in self.requests]

    @property
    def last(self) -> PreparedRequest:
        """The last request."""
        return self.requests[-1]

    @property
    def body(self) -> Any:
        """The JSON that the last request carried."""
        return json.loads(self.last.body or b"null")


@pytest.fixture
def wire(blocking_wire: Wire) -> Wire:
    """What the current session sends; a module may take `either_wire` under this name."""
    return blocking_wire


@pytest.fixture
def blocking_wire(backend: Backend) -> Iterator[Wire]:
    """What the current session sends, as the user alice; in a bucket of its own with `todos`."""
    wire = Wire()
    with backend.session(auth=wire, bucket=backend.new_id()) as session:
        Bucket(id=session.bucket).save().collections.new(id="todos").save()
        wire.session = session
        wire.clear()
        yield wire


@pytest.fixture(scope="session")
def loopback(backend: Backend, request: pytest.FixtureRequest) -> Iterator[LoopbackServer]:
    """The same Kinto on a port."""
    server: EmbeddedServer
    if backend.name != "memory":
        with serve(request.getfixturevalue(backend.name)) as served:
            yield served
        return
    with open_named("tests") as server, serve(server) as served:
        yield served


@pytest.fixture
def proxy(loopback: LoopbackServer) -> Iterator[FaultyServer]:
    """A proxy before the Kinto on a port; what is in its `answers` goes wrong, in that order."""
    with FaultyServer(upstream=loopback.url) as proxy:
        yield proxy
