"""Sending over sockets: cut-off and foreign answers, waiting, deadlines, and who gets what."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import pytest
from requests.auth import HTTPBasicAuth, HTTPDigestAuth
from urllib3.util.retry import Retry as Urllib3Retry

from bridge import both_drivers
from conftest import Backend
from faults import (
    HTML,
    FaultyServer,
    answer_halved,
    answer_lost,
    cut_off,
    hangs_up,
    passed_on,
    says,
    silent,
    stalls,
)
from kinto_orm import (
    BackoffError,
    BadReply,
    BearerAuth,
    Bucket,
    Collection,
    ConfigurationError,
    ConnectFailed,
    Forbidden,
    InvalidData,
    KintoError,
    NotFound,
    Record,
    ResponseError,
    Retry,
    ServerError,
    Session,
    Timeout,
    TransportError,
    Unauthorized,
    Unsupported,
    __version__,
)
from kinto_orm.server import open_memory, serve, serve_process
from kinto_orm.wire.messages import Reply

driver = both_drivers(__name__)
# For what an AsyncSession does otherwise.
BlockingSession = Session

FAST = Retry(deadline=5, backoff_factor=0.001)
RECORD = {"data": {"id": "x", "last_modified": 5, "title": "a"}, "permissions": {}}
PAGE = {"data": [RECORD["data"]]}
OK = says(200, RECORD)


class Todo(Record, collection="todos", bucket="b"):
    title: str = "a"


def fetch(url: str, **options: Any) -> Todo:
    """One GET through a session of its own."""
    options.setdefault("retry", None)
    with Session(url, **options) as session:
        return session.get(Todo, "x")


ACTS: dict[str, Callable[[], object]] = {
    "get": lambda: Todo.get("x"),
    "get_or_none": lambda: Todo.get_or_none("x"),
    "get_or_create": lambda: Todo.get_or_create("x"),
    "find": lambda: Todo.find().all(),
    "only": lambda: Todo.find().only("title").all(),
    "count": lambda: Todo.find().count(),
    "exists": lambda: Todo.find().exists(),
    "delete all": lambda: Todo.find().delete(),
    "save": lambda: Todo(id="x").save(),
    "force": lambda: Todo(id="x").save(force=True),
    "delete": lambda: Todo(id="x").delete(force=True),
    "refresh": lambda: Todo(id="x").refresh(),
    "permissions": lambda: Bucket(id="x").save(force=True).permissions.refresh(),
    "default bucket": lambda: Record.find().all(),
}
LOADING = sorted(ACTS.keys() - {"count", "exists", "delete all", "default bucket"})


def outcome(server: FaultyServer, act: str) -> KintoError:
    """The error that an act ends in, which has to be one of the library's."""
    with (
        Session(server.url, retry=None, auth="bob:s3cret", collection="todos"),
        pytest.raises(KintoError) as raised,
    ):
        ACTS[act]()
    return raised.value


# Answers that are none


@pytest.mark.parametrize("act", ACTS)
def test_a_proxys_html_is_no_answer(act: str) -> None:
    """HTML with status 200 is a BadReply that names the act, the object and what came."""
    with FaultyServer(HTML) as server:
        error = outcome(server, act)
    assert isinstance(error, BadReply)
    assert "cannot " in str(error)


@pytest.mark.parametrize("body", [[], {"ok": True}, {"data": None}, {"data": "x"}, {"data": [5]}])
@pytest.mark.parametrize("act", [act for act in ACTS if act != "default bucket"])
def test_another_services_json_is_no_answer(act: str, body: Any) -> None:
    """JSON that is not Kinto's is an error of the library, not one from inside of it."""
    # The second answer keeps what reads it as a result from going on for ever.
    with FaultyServer(says(200, body), says(500, {})) as server:
        error = outcome(server, act)
    assert isinstance(error, (BadReply, InvalidData))


@pytest.mark.parametrize("data", [{"id": "x", "title": "a"}, {"last_modified": 5, "title": "a"}])
@pytest.mark.parametrize("act", LOADING)
def test_an_object_without_id_or_timestamp_is_no_answer(act: str, data: Any) -> None:
    """Without them the next save would have no path, or no precondition."""
    body = {"data": [data] if act in ("find", "only") else data}
    with FaultyServer(says(200, body), says(500, {})) as server:
        error = outcome(server, act)
    assert isinstance(error, BadReply)


@pytest.mark.parametrize("act", ACTS)
def test_a_connection_closed_without_an_answer(act: str) -> None:
    """It is a TransportError that names the server and the act."""
    with FaultyServer(hangs_up) as server:
        error = outcome(server, act)
    assert isinstance(error, ConnectFailed)
    assert server.url in str(error)
    assert "cannot " in str(error)


# The answer to HEAD has no body that could be cut off.
@pytest.mark.parametrize("act", [act for act in ACTS if act != "count"])
def test_a_reply_cut_off_in_the_middle(act: str) -> None:
    """It is a BadReply; whether the work was done is not known."""
    with FaultyServer(cut_off) as server:
        error = outcome(server, act)
    assert isinstance(error, BadReply)
    assert "cut off" in str(error)


def test_a_cut_off_reply_is_asked_for_again() -> None:
    """What may be repeated is repeated."""
    with FaultyServer(cut_off, hangs_up, says(502, b"<html>"), OK) as server:
        assert fetch(server.url, retry=FAST).title == "a"
        assert len(server.received) == 4


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_html_of_a_failing_server(status: int) -> None:
    """An error page is a ServerError with its status, whatever its body."""
    with FaultyServer(says(status, b"<html>", Content_Type="text/html")) as server:
        error = outcome(server, "save")
    assert isinstance(error, ServerError)
    assert error.status == status


def test_an_empty_reply_is_no_answer() -> None:
    """204 without a body says nothing of the object."""
    with FaultyServer(says(204, b"")) as server:
        assert isinstance(outcome(server, "save"), BadReply)


STATUSES: list[tuple[int, int | None, type[ResponseError]]] = [
    (400, 107, InvalidData),
    (401, 104, Unauthorized),
    (403, 121, Forbidden),
    (404, 110, NotFound),
    (404, 111, NotFound),
    (405, 115, Unsupported),
    (410, 202, Unsupported),
    (413, 113, InvalidData),
    (418, None, ResponseError),
    (429, 117, ServerError),
    (500, 999, ServerError),
    (503, 201, ServerError),
]


@pytest.mark.parametrize(("status", "errno", "cls"), STATUSES)
def test_statuses_become_errors(status: int, errno: int | None, cls: type[ResponseError]) -> None:
    """Each refusal is an error with the server's own words, status, errno and details."""
    said = {"message": "the reason", "errno": errno, "details": {"id": "x"}}
    with FaultyServer(says(status, said)) as server:
        error = outcome(server, "get")
    assert isinstance(error, cls)
    assert (error.status, error.errno, error.details) == (status, errno, {"id": "x"})
    assert "the reason" in str(error)
    assert "get Todo 'x'" in str(error)
    assert error.request is not None
    assert error.request.method == "GET"


# No server


def test_unknown_host() -> None:
    """A host that does not exist is a ConnectFailed that names it."""
    with pytest.raises(ConnectFailed, match=r"kinto\.invalid"):
        fetch("http://kinto.invalid/v1")


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_refused_port() -> None:
    """Nobody listens: ConnectFailed, with the question that helps."""
    with pytest.raises(ConnectFailed, match="is the server running"):
        fetch(f"http://127.0.0.1:{closed_port()}/v1")


def test_https_to_a_server_that_has_none() -> None:
    """A failed TLS handshake is a ConnectFailed that says so."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:

        def answer_in_plain() -> None:
            connection = listening.accept()[0]
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        pool.submit(answer_in_plain)
        with pytest.raises(ConnectFailed, match="TLS"):
            fetch(f"https://127.0.0.1:{listening.getsockname()[1]}/v1")


def test_refused_port_is_tried_again_within_the_deadline() -> None:
    """A server that is being restarted is waited for, and not for longer than the deadline."""
    started = time.monotonic()
    with pytest.raises(ConnectFailed):
        fetch(f"http://127.0.0.1:{closed_port()}/v1", retry=Retry(1000, deadline=0.3))
    assert 0.05 < time.monotonic() - started < 3


def test_a_path_without_an_api() -> None:
    """A server that has no Kinto under /v1 says 404: nothing is missing, and the message asks."""
    with FaultyServer(says(404, b"<h1>Not here</h1>", Content_Type="text/html")) as server:
        error = outcome(server, "get")
    assert isinstance(error, BadReply)
    assert "Is the server URL right" in str(error)


# Slow servers


def test_a_slow_answer_is_a_timeout() -> None:
    """No answer within the read timeout is a Timeout, which is a TimeoutError too."""
    with FaultyServer(silent) as server, pytest.raises(Timeout, match="in time") as raised:
        fetch(server.url, timeout=(1, 0.1))
    assert isinstance(raised.value, TimeoutError)


def test_an_answer_that_stops_in_the_middle_is_a_timeout() -> None:
    """The same when the beginning of the answer came."""
    with FaultyServer(stalls) as server, pytest.raises(Timeout):
        fetch(server.url, timeout=0.1)


def test_a_slow_answer_is_asked_for_again() -> None:
    """The second attempt is answered."""
    with FaultyServer(silent, stalls, OK) as server:
        assert fetch(server.url, timeout=(1, 0.1), retry=FAST).title == "a"


def test_one_deadline_for_the_whole_call() -> None:
    """All attempts together take no longer than the deadline, whatever the timeouts allow."""
    started = time.monotonic()
    with FaultyServer(silent) as server, pytest.raises(Timeout):
        fetch(server.url, timeout=(1, 30), retry=Retry(50, deadline=0.3))
    assert time.monotonic() - started < 3


def test_one_number_is_both_timeouts() -> None:
    """`timeout=0.1` serves too."""
    with FaultyServer(silent) as server, pytest.raises(Timeout):
        fetch(server.url, timeout=0.1)


# Trying again


def busy(status: int, **headers: str) -> Any:
    """An answer of Kinto's that says that it is busy."""
    return says(status, {"errno": 201, "message": "busy"}, **headers)


@pytest.mark.parametrize("status", [409, 429, 502, 503, 504])
@pytest.mark.parametrize("act", ["get", "save", "force", "delete", "count", "find"])
def test_busy_servers_are_asked_again(status: int, act: str) -> None:
    """Statuses that pass are no errors, for each request that may be repeated."""
    last = OK
    if act in ("count", "find"):
        last = says(200, PAGE, Total_Objects="1")
    if act == "delete":
        last = says(200, {"data": {"id": "x", "last_modified": 6, "deleted": True}})
    with FaultyServer(busy(status), busy(status), last) as server, Session(server.url, retry=FAST):
        ACTS[act]()
    assert len(server.received) == 3


def test_a_read_is_repeated_after_500_and_a_write_is_not() -> None:
    """The first GET that races a write gets 500 on PostgreSQL; a write may have been stored."""
    with FaultyServer(busy(500), OK) as server:
        assert fetch(server.url, retry=FAST).title == "a"
    with FaultyServer(busy(500), OK) as server, Session(server.url, retry=FAST):
        with pytest.raises(ServerError):
            Todo().save()
        assert len(server.received) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 412])
def test_refusals_are_not_repeated(status: int) -> None:
    """Asking again does not help."""
    with FaultyServer(busy(status)) as server, pytest.raises(ResponseError):
        fetch(server.url, retry=FAST)
    assert len(server.received) == 1


@pytest.mark.parametrize("retry", [None, Retry(0), Urllib3Retry(0), Urllib3Retry(False)])
def test_no_retries_when_none_are_wanted(retry: Any) -> None:
    """`retry=None` sends once."""
    with FaultyServer(busy(503)) as server, pytest.raises(ServerError):
        fetch(server.url, retry=retry)
    assert len(server.received) == 1


@pytest.mark.parametrize("retry", [Retry(2, backoff_factor=0.001), Urllib3Retry(2)])
def test_number_of_attempts(retry: Any) -> None:
    """`total` counts the attempts after the first; urllib3's own Retry serves too."""
    with FaultyServer(busy(502)) as server, pytest.raises(ServerError):
        fetch(server.url, retry=retry)
    assert len(server.received) == 3


def test_retry_after_is_honoured() -> None:
    """The server says how long; at least so long is waited."""
    with FaultyServer(busy(503, Retry_After="1"), OK) as server:
        started = time.monotonic()
        fetch(server.url, retry=FAST)
    assert time.monotonic() - started >= 0.95


def test_retry_after_has_a_cap() -> None:
    """A server that asks for an hour is asked again after `retry_after_max`."""
    retry = Retry(deadline=5, retry_after_max=0.05)
    with FaultyServer(busy(503, Retry_After="3600"), OK) as server:
        assert fetch(server.url, retry=retry).title == "a"


def test_retry_after_zero_leaves_the_own_wait() -> None:
    """Attempts at once would be over before a busy server has moved."""
    reply = Reply(503, {"Retry-After": "0"}, b"")
    waits = [Retry(backoff_factor=0.1).wait(5, reply) for _ in range(50)]
    assert max(waits) > 0.1


def test_retry_after_as_a_date_and_as_nonsense() -> None:
    """HTTP allows a date; what cannot be read does not break the call."""
    retry = Retry(deadline=5, retry_after_max=0.05, backoff_max=0.01)
    answers = [busy(503, Retry_After=value) for value in (formatdate(usegmt=True), "soon", "")]
    with FaultyServer(*answers, OK) as server:
        assert fetch(server.url, retry=retry).title == "a"


def test_503_beyond_the_deadline() -> None:
    """When the wait would end after the deadline, the refusal comes at once."""
    started = time.monotonic()
    with FaultyServer(busy(503, Retry_After="20")) as server:
        with pytest.raises(ServerError, match="busy") as raised:
            fetch(server.url, retry=Retry(deadline=2))
        assert len(server.received) == 1
    assert raised.value.status == 503
    assert time.monotonic() - started < 2


def test_a_collisions_retry_after_is_not_waited_for() -> None:
    """Kinto's 409 asks for 3 s though the collision is over at once."""
    started = time.monotonic()
    with FaultyServer(busy(409, Retry_After="3"), OK) as server:
        fetch(server.url, retry=FAST)
    assert time.monotonic() - started < 2


# What the server announces


def test_backoff_delays_the_next_request() -> None:
    """The answer counts; the next request, of any thread, waits."""
    with (
        FaultyServer(says(200, RECORD, Backoff="1"), OK) as server,
        Session(server.url, retry=FAST) as session,
    ):
        assert session.get(Todo, "x").title == "a"
        started = time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: session.get(Todo, "x"), range(2)))
        assert time.monotonic() - started >= 0.9


def test_backoff_beyond_the_deadline() -> None:
    """Then nothing is sent, and the error says for how long."""
    with FaultyServer(says(200, RECORD, Backoff="100")) as server:
        with Session(server.url, retry=FAST) as session:
            session.get(Todo, "x")
            with pytest.raises(BackoffError, match=r"(100|99) s .*Nothing was sent"):
                session.get(Todo, "x")
        assert len(server.received) == 1


def test_nonsense_in_backoff_does_no_harm() -> None:
    """Only a number of seconds delays."""
    with FaultyServer(says(200, RECORD, Backoff="soon")) as server:
        assert fetch(server.url).title == "a"


def test_alert_is_a_deprecation_warning() -> None:
    """The announcement of an API's end of life is shown where the program called."""
    alert = '{"code": "soft-eol", "message": "v1 goes", "url": "http://example.com"}'
    with (
        FaultyServer(says(200, RECORD, Alert=alert)) as server,
        pytest.warns(DeprecationWarning, match="v1 goes") as warned,
        BlockingSession(server.url) as session,
    ):
        session.get(Todo, "x")
    assert warned[0].filename == __file__


# Where requests and credentials go


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """Neither to another host nor on the same one: the URL has to be corrected."""
    with FaultyServer(OK) as other:
        with FaultyServer(says(status, b"", Location=f"{other.url}/x")) as server:
            error = outcome(server, "get")
        assert other.received == []
    assert isinstance(error, Unsupported)
    assert "redirect" in str(error)


def test_credentials_never_follow_next_page_to_another_host() -> None:
    """The next page is asked for on the session's own server, whatever host the header names."""
    second = {"data": [{"id": "y", "last_modified": 6, "title": "b"}]}
    by_title = Todo.find().order_by(Todo.title)
    with FaultyServer(says(200, PAGE)) as thief:
        next_page = f"{thief.url}/buckets/b/collections/todos/records?_token=abc&_limit=1"
        with FaultyServer(says(200, PAGE, Next_Page=next_page), says(200, second)) as server:
            with Session(server.url, auth="bob:s3cret", retry=None):
                assert [todo.id for todo in by_title.page_size(1)] == ["x", "y"]
            assert server.received[1].target == (
                "/v1/buckets/b/collections/todos/records?_sort=title&_token=abc&_limit=1"
            )
        assert thief.received == []


AUTHS: list[tuple[Any, str]] = [
    ("bob:s3cret", "Basic Ym9iOnMzY3JldA=="),
    (("bob", "s3cret"), "Basic Ym9iOnMzY3JldA=="),
    (HTTPBasicAuth("bob", "s3cret"), "Basic Ym9iOnMzY3JldA=="),
    ("bob:a:b", "Basic Ym9iOmE6Yg=="),
    ("bob:", "Basic Ym9iOg=="),
    (("jürgen", "pässword"), "Basic asO8cmdlbjpww6Rzc3dvcmQ="),
    (BearerAuth("t0ken"), "Bearer t0ken"),
]


@pytest.mark.parametrize(("auth", "header"), AUTHS)
def test_ways_to_authenticate(auth: Any, header: str) -> None:
    """A pair, a text, a token, or an authentication object of requests."""
    with FaultyServer(OK) as server:
        fetch(server.url, auth=auth)
        assert server.received[0].headers["Authorization"] == header


def test_digest_authentication_of_requests() -> None:
    """What requests takes serves, the kind that answers a challenge included."""
    challenge = says(401, {}, WWW_Authenticate='Digest realm="k", nonce="n", qop="auth"')
    with FaultyServer(challenge, OK) as server:
        with BlockingSession(server.url, auth=HTTPDigestAuth("bob", "s3cret")) as session:
            assert session.get(Todo, "x").title == "a"
        assert server.received[1].headers["Authorization"].startswith("Digest ")


def test_an_authentication_function() -> None:
    """Any callable that puts headers on a request."""

    def signed(request: Any) -> Any:
        request.headers["X-Signature"] = f"{request.method} {request.url}"
        return request

    with FaultyServer(OK) as server:
        fetch(server.url, auth=signed)
        assert server.received[0].headers["X-Signature"].startswith("GET http://127.0.0.1")


@pytest.mark.parametrize("auth", ["only-a-name", ("a",), ("a", "b", "c"), 5, ["a"]])
def test_what_is_no_authentication_is_refused(auth: Any) -> None:
    """At once, and with the forms that there are."""
    with pytest.raises(ConfigurationError, match="BearerAuth") as raised:
        Session("http://127.0.0.1/v1", auth=auth)
    assert "only-a-name" not in str(raised.value)


def test_nobody_is_anonymous() -> None:
    """Without auth there is no Authorization, not even from a .netrc file."""
    with FaultyServer(OK) as server:
        fetch(server.url)
        assert "Authorization" not in server.received[0].headers


def test_headers_of_each_request() -> None:
    """JSON is asked for, the program says who it is, and the session's headers are sent."""
    with FaultyServer(OK) as server, Session(server.url, headers={"X-Team": "blue"}, retry=None):
        Todo(id="x").save()
        headers = server.received[0].headers
    assert headers["X-Team"] == "blue"
    assert headers["Accept"] == "application/json"
    assert headers["Content-Type"] == "application/json"
    assert f"kinto-orm/{__version__}" in headers["User-Agent"]


def test_connections_are_kept_and_shared(loopback: Any) -> None:
    """Many calls of a thread use one connection."""
    with FaultyServer(OK) as server, Session(server.url, retry=None) as session:
        peers = set()

        def note(exchange: Any) -> None:
            peers.add(exchange.client_address)
            OK(exchange)

        server.answers.clear()
        server.answers.append(note)
        for _ in range(5):
            session.get(Todo, "x")
    assert len(peers) == 1


# Secrets


@pytest.mark.parametrize("auth", ["bob:s3cret", ("bob", "s3cret"), BearerAuth("s3cret")])
@pytest.mark.parametrize("answer", [HTML, cut_off, hangs_up, says(401, {"errno": 104}),
                                    says(503, {}), says(302, b"", Location="/")])  # fmt: skip
def test_no_error_shows_a_secret(auth: Any, answer: Any) -> None:
    """Neither an error, nor its traceback, nor what the session shows has the password."""
    with FaultyServer(answer) as server:
        session = Session(server.url, auth=auth, retry=None)
        with session, pytest.raises(KintoError) as raised:
            Todo.get("x")
    shown = "".join(traceback.format_exception(raised.value)) + repr(session)
    shown += repr(getattr(raised.value, "request", None))
    assert "s3cret" not in shown
    assert "czNjcmV0" not in shown


def test_bearer_tokens_compare_and_hide() -> None:
    """Two of one token are equal; the token is not shown."""
    assert BearerAuth("a") == BearerAuth("a") != BearerAuth("b")
    assert len({BearerAuth("a"), BearerAuth("a")}) == 1
    assert "s3cret" not in repr(BearerAuth("s3cret"))


# A real Kinto behind a bad line


@pytest.fixture
def line(proxy: FaultyServer, backend: Backend) -> Iterator[FaultyServer]:
    """The current session reaches the Kinto through the proxy; the collection todos is there."""
    with Session(proxy.url, auth="alice:s3cret", bucket=backend.new_id(), retry=FAST) as session:
        Bucket(id=session.bucket).save()
        Collection(id="things").save()
        proxy.received.clear()
        yield proxy


class Thing(Record, collection="things"):
    number: int


@pytest.mark.parametrize("fault", [hangs_up, answer_lost, answer_halved, busy(503), busy(409)])
def test_a_bad_line_changes_no_result(line: FaultyServer, fault: Any) -> None:
    """With every other answer lost, all is stored once and read whole."""
    for number in range(3):
        line.answers.extend([fault, passed_on])
        Thing(number=number).save()
    line.answers.extend([fault, passed_on] * 2)
    things = Thing.find().page_size(2).all()
    assert sorted(thing.number for thing in things) == [0, 1, 2]
    line.answers.extend([passed_on, fault])
    things[0].delete()
    assert Thing.find().count() == 2


def test_a_server_killed_in_the_middle() -> None:
    """A crash while requests are under way is a TransportError for each of them, and no hang."""

    def write(_: int) -> KintoError | None:
        try:
            for _ in range(10_000):
                Record(a=1).save(session=session)
        except KintoError as error:
            return error
        return None

    with (
        serve_process("memory://") as server,
        Session(server.url, auth=server.auth, collection="todos", retry=None) as session,
    ):
        Record(a=1).save()
        with ThreadPoolExecutor(3) as pool:
            under_way = pool.map(write, range(3))
            time.sleep(0.2)
            server.kill()
            errors = list(under_way)
        assert all(isinstance(error, TransportError) for error in errors)
        assert all("save Record" in str(error) for error in errors)
        with pytest.raises(ConnectFailed):
            Record(a=1).save()


def test_read_only_mode() -> None:
    """A server in read-only mode refuses writes with an Unsupported that says so; reads work."""
    with (
        open_memory(settings={"readonly": "true"}) as kinto,
        serve(kinto) as served,
        Session(served.url, auth=kinto.auth, bucket="b", retry=None),
    ):
        with pytest.raises(Unsupported, match="read-only") as raised:
            Bucket(id="b").save()
        assert (raised.value.status, raised.value.errno) == (405, 115)
        assert Bucket.find().all() == []


# Refusals of a HEAD


@pytest.mark.parametrize(("status", "errno", "cls"), [each for each in STATUSES if each[0] < 429])
def test_why_a_count_is_refused(status: int, errno: int | None, cls: type[KintoError]) -> None:
    """The answer to a HEAD cannot say it, so that the server is asked once more by a GET."""
    with FaultyServer(says(status, {"errno": errno, "message": "the reason"})) as server:
        error = outcome(server, "count")
        assert server.methods == ["HEAD", "GET"]
    assert isinstance(error, cls)
    assert isinstance(error, ResponseError)
    assert (error.status, error.errno) == (status, errno)
    assert "count Todo" in str(error)
    assert "the reason" in str(error)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_count_of_a_failing_server(status: int) -> None:
    """What the status means is said, and nothing of what a Kinto server answers."""
    with FaultyServer(says(status, {"errno": 999, "message": "x"})) as server:
        error = outcome(server, "count")
    assert isinstance(error, ServerError)
    assert f"{status}: " in str(error)
    assert "is not what a Kinto server answers" not in str(error)


def test_a_count_by_a_gateway_that_lost_its_server() -> None:
    """Its HTML does not say that anything is missing."""
    with FaultyServer(says(404, b"<h1>no</h1>", Content_Type="text/html")) as server:
        assert isinstance(outcome(server, "count"), BadReply)


def test_a_count_without_a_total() -> None:
    """The header that is missing is named."""
    with FaultyServer(OK) as server:
        error = outcome(server, "count")
    assert isinstance(error, BadReply)
    assert "Total-Objects" in str(error)


def test_a_count_where_heads_are_not_allowed() -> None:
    """A proxy may refuse them and let the GET through: then its refusal stands."""
    with FaultyServer(says(405, b""), says(200, PAGE), says(405, b"")) as server:
        error = outcome(server, "count")
    assert isinstance(error, Unsupported)
    assert "405: Method Not Allowed" in str(error)


def test_counting_what_was_never_used(backend: Backend) -> None:
    """The personal bucket and its collections are made when they are needed, for a count, too."""
    with backend.session(auth=(backend.new_id("user"), "pw")) as session:
        assert Record.find(session=session.scoped(collection="one")).count() == 0
        Record(a=1).save(session=session.scoped(collection="two"))
        assert Record.find(session=session.scoped(collection="three")).count() == 0
