"""`doctor`: each finding, on servers that are in order and on those that are not."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any

import pytest

from kinto_orm import Bucket, Record, Session
from kinto_orm.cli.racing import scratch
from kinto_orm.server import EmbeddedServer, open_local, open_memory, serve
from program import Ran, Run, as_process, in_process

BACKENDS = ("storage", "permission", "cache")
CHECKS = [
    *("server", "user", "clock", "round trip", "plugin history", "plugin default_bucket"),
    *("batch", "writing", "isolation", "pages"),
]


def found(ran: Ran) -> dict[str, dict[str, Any]]:
    """The findings by what was looked at."""
    return {each["check"]: each for each in map(json.loads, ran.out.splitlines())}


def states(ran: Ran) -> dict[str, str]:
    return {check: each["state"] for check, each in found(ran).items()}


def test_a_server_in_order(program_session: Session, program: Run) -> None:
    """All is well on each of the embedded ones, and nothing is left of what was tried."""
    before = {each.id for each in Bucket.find()}
    ran = program("doctor", "--json")
    assert ran.status == 0, ran.out
    assert states(ran) == dict.fromkeys(CHECKS, "ok")
    assert {each.id for each in Bucket.find()} == before


def test_what_is_tried_in_is_deleted_when_it_fails(program_session: Session) -> None:
    before = {each.id for each in Bucket.find()}
    with suppress(KeyboardInterrupt), scratch(program_session) as place:
        Record(id="a").save(session=place)
        raise KeyboardInterrupt
    assert {each.id for each in Bucket.find()} == before


@pytest.fixture
def doctor(no_profile: None) -> Callable[..., Ran]:
    """Runs `doctor` on an embedded Kinto, over a port, as its own user."""

    def doctor(server: EmbeddedServer, *arguments: str) -> Ran:
        with serve(server, threads=8) as http:
            auth = ("--auth", ":".join(server.auth))
            return in_process("doctor", "--json", "--server", http.url, *auth, *arguments)

    return doctor


def test_lost_updates_are_found(tmp_path: Path, doctor: Callable[..., Ran]) -> None:
    """A PostgreSQL at Kinto's own isolation level."""
    settings = {"storage_isolation_level": "READ COMMITTED"}
    with open_local(tmp_path, settings=settings, durable=False) as server:
        ran = doctor(server)
    assert ran.status == 1
    isolation = found(ran)["isolation"]
    assert isolation["state"] == "problem"
    assert "updates get lost" in isolation["found"]
    assert "REPEATABLE READ" in isolation["remedy"]


@contextmanager
def weak_kinto(**settings: str) -> Iterator[str]:
    """Kinto's own memory backend behind a server of several threads, as nobody should run it."""
    backends = {f"{name}_backend": f"kinto.core.{name}.memory" for name in BACKENDS}
    open_to_all = {"multiauth.policies": "basicauth", "userid_hmac_secret": "x"}
    chosen = backends | open_to_all | {"bucket_create_principals": "system.Authenticated"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kinto
        from waitress.server import create_server
        from waitress.wasyncore import close_all

        app = kinto.main({}, **chosen, **settings)
    connections: dict[int, Any] = {}
    server = create_server(app, host="127.0.0.1", port=0, threads=8, map=connections)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}/v1"
    finally:
        server.trigger.pull_trigger(partial(close_all, connections))
        thread.join()
        server.task_dispatcher.shutdown()


def test_a_memory_backend_with_threads_is_found(no_profile: None) -> None:
    """Each time: the schema of what is tried makes writers meet."""
    with weak_kinto(experimental_collection_schema_validation="true") as url:
        ran = in_process("doctor", "--json", "--server", url, "--auth", "a:b", "--bucket", "c")
    assert found(ran)["isolation"]["state"] == "problem"
    assert "one thread only" in found(ran)["isolation"]["remedy"]


def test_what_could_not_be_told_is_said(no_profile: None) -> None:
    """Without schemas writers seldom meet."""
    with weak_kinto() as url:
        ran = in_process("doctor", "--json", "--server", url, "--auth", "a:b", "--bucket", "c")
    isolation = found(ran)["isolation"]
    assert isolation["state"] in ("note", "problem")
    assert isolation["state"] == "problem" or "validates no schemas" in isolation["found"]


def test_what_is_set_so_that_it_hinders(doctor: Callable[..., Ran]) -> None:
    """Small pages and batches are told, and are no problem."""
    settings = {"paginate_by": "7", "batch_max_requests": "5"}
    with open_memory(settings=settings) as server:
        ran = doctor(server)
    told = found(ran)
    assert ran.status == 0
    assert told["pages"]["found"] == "only 7 objects in a page"
    assert (told["pages"]["state"], told["batch"]["state"]) == ("note", "note")
    assert told["isolation"]["state"] == "ok"


def test_a_read_only_server_is_not_tried(doctor: Callable[..., Ran]) -> None:
    with open_memory(settings={"readonly": "true"}) as server:
        ran = doctor(server)
    assert ran.status == 0
    assert found(ran)["writing"]["found"].startswith("the server is read-only")
    assert "not tried" in found(ran)["isolation"]["found"]


def test_who_may_make_no_bucket_is_told_that_it_was_not_tried(doctor: Callable[..., Ran]) -> None:
    with open_memory(settings={"bucket_create_principals": "account:boss"}) as server:
        ran = doctor(server)
    assert ran.status == 0
    assert "you may not make a bucket" in found(ran)["isolation"]["found"]


def test_nothing_is_written_where_that_is_not_wanted(doctor: Callable[..., Ran]) -> None:
    with open_memory() as server:
        ran = doctor(server, "--no-writes")
    assert "--no-writes was given" in found(ran)["isolation"]["found"]


def test_wrong_credentials_are_a_problem(http_kinto: str, no_profile: None) -> None:
    ran = in_process("doctor", "--json", "--server", http_kinto, "--auth", "Bearer t0ken")
    assert ran.status == 1
    assert found(ran)["user"]["state"] == "problem"
    assert "login" in found(ran)["user"]["remedy"]
    assert "t0ken" not in ran.out + ran.err
    nobody = in_process("doctor", "--json", "--server", http_kinto)
    assert states(nobody)["user"] == "note"


def test_schema_and_model_out_of_step(
    program_session: Session, program: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said what differs, and what to type."""
    module = f"shop_{program_session.bucket}"
    (tmp_path / f"{module}.py").write_text(
        "from kinto_orm import Record\n\n\n"
        "class Order(Record, collection='orders'):\n    total: int\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"{module}:Order"
    ran = program("doctor", name, "--json", "--no-writes")
    assert ran.status == 1
    schema = found(ran)[f"schema of {name}"]
    assert (schema["state"], schema["remedy"]) == ("problem", f"kinto-orm schema apply {name}")
    module_of = __import__(module)
    program_session.sync_schema(module_of.Order)
    assert program("doctor", name, "--json", "--no-writes").status == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop", "write MODULE:MODEL"),
        ("no_such_module:Order", "there is no module"),
        ("json:loads", "something else than a model"),
    ],
)
def test_no_model_is_misuse(program: Run, name: str, said: str) -> None:
    ran = program("doctor", name)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err


class _Late(BaseHTTPRequestHandler):
    """What stands between, and has another time."""

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Date", formatdate(time() + self.server.ahead, usegmt=True))  # type: ignore[attr-defined]
        body = json.dumps(
            {
                "project_version": "26",
                "user": {"id": "basicauth:x", "bucket": "b"},
                "capabilities": {"history": {}, "default_bucket": {}},
                "settings": {"readonly": True},
            }
        ).encode()
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def clock() -> Iterator[Callable[[float], str]]:
    """A server whose clock is ahead of this one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Late)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def clock(ahead: float) -> str:
        server.ahead = ahead  # type: ignore[attr-defined]
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield clock
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("ahead", "state", "said"),
    [(0, "ok", "the same"), (3600, "problem", "ahead of"), (-3600, "problem", "behind")],
)
def test_another_clock_is_a_problem(
    clock: Callable[[float], str], no_profile: None, ahead: float, state: str, said: str
) -> None:
    ran = in_process("doctor", "--json", "--server", clock(ahead), "--auth", "a:b")
    assert (found(ran)["clock"]["state"], ran.status) == (state, int(state == "problem"))
    assert said in found(ran)["clock"]["found"]


def test_kvp_servers_are_looked_at_as_far_as_it_goes(no_profile: None) -> None:
    settings = {"kinto.includes": "kinto_orm.server.kvp", "kinto.kvp_api_keys": "123abc"}
    with open_memory(settings=settings) as server, serve(server) as http:
        kvp = f"kvp+{http.url.removesuffix('/v1')}"
        ran = in_process("doctor", "--json", "--server", kvp, "--auth", "123abc:")
        assert set(states(ran).values()) == {"ok"}
        assert in_process("doctor", "--server", kvp, "--auth", "wrong:").status == 1


def test_as_a_process(tmp_path: Path) -> None:
    """For a reader: each finding in a line, what to do in the next."""
    with Session(f"sqlite:///{tmp_path}/a.db") as session:
        session.server_info()
    ran = as_process("doctor", "--server", f"sqlite:///{tmp_path}/a.db", "--no-writes")
    assert ran.status == 0
    assert "ok      server: " in ran.out
    assert "note    isolation: not tried: --no-writes was given" in ran.out
