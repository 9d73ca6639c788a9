"""What goes wrong has a page that says what to do: never a traceback, never a wrong status."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import requests
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from bare import bare_session
from faults import FaultyServer, answer_lost, at_write, says
from kinto_orm import Bucket, Collection, Record, Session, errors
from kinto_orm.server import open_memory, serve
from kinto_orm.server.embedded import own_user
from kinto_orm.web import app
from kinto_orm.web.__main__ import main
from kinto_orm.web.refusals import OF_THE_PAGE, Refused, explained
from web_page.reader import HERE, USER, Browser, record


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ERRORS = sorted(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.KintoError)
)


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_has_a_remedy(name: str) -> None:
    """Whatever the library raises is explained, with the status that it has for a service."""
    cls = getattr(errors, name)
    error = cls("said", [errors.Conflict("x")]) if name == "BatchError" else cls("said")
    told = explained(error)
    assert told.status == (501 if name == "Unsupported" else errors.http_status(error))
    assert told.title
    assert told.remedy
    assert "said" in told.said


def test_what_else_is_explained() -> None:
    """What the page refuses by itself, what does not fit a model, and faults of the page."""

    class Model(BaseModel):
        count: int

    with pytest.raises(ValidationError) as caught:
        Model(count="s3cret")
    told = explained(caught.value)
    assert told.status == 422
    assert "count" in told.said
    assert "s3cret" not in told.said
    assert explained(Refused(418, "title", "remedy")).status == 418
    assert explained(ZeroDivisionError("s3cret")) == OF_THE_PAGE


@pytest.fixture
def strict() -> Iterator[str]:
    """A Kinto that knows tom only, by his password."""
    settings = {
        "multiauth.policies": "account",
        "multiauth.policy.account.use": "kinto.plugins.accounts.authentication."
        "AccountsAuthenticationPolicy",
        "kinto.account_create_principals": "system.Everyone",
    }
    with open_memory(settings=settings) as server, serve(server) as served:
        requests.put(
            f"{served.url}/accounts/tom", json={"data": {"password": USER[1]}}, timeout=30
        ).raise_for_status()
        yield served.url


def test_a_wrong_password(opening: Callable[..., Browser], strict: str) -> None:
    """It is said, the name stays filled in, and the right one lets in."""
    browser = opening(strict)
    browser.get("/login")
    browser.send("/login", 401, user="tom", password="wrong")
    assert "Wrong user, password or token" in browser.said
    assert browser.form("/login").values["user"] == "tom"
    assert "wrong" not in browser.text.replace("Wrong", "")
    browser.send("/login", 401, user="", password="")
    browser.send("/login", 401, token="no-such-token")
    browser.send("/login", 422, user="", token="two words")
    browser.send("/login", 422, user="with:colon", password="x")
    browser.send("/login", user="tom", password=USER[1])
    assert browser.page.url.path == "/"


def test_a_dead_server(opening: Callable[..., Browser]) -> None:
    """Logging in says that it cannot be reached; so does each page once it is gone."""
    url = f"http://127.0.0.1:{free_port()}/v1"
    browser = opening(url)
    browser.get("/login")
    browser.send("/login", 503, user="tom", password="x")
    assert "The server cannot be reached" in browser.said
    assert browser.form("/login").values["user"] == "tom"
    with open_memory() as server:
        with serve(server) as served:
            browser = opening(served.url).log_in()
        browser.get("/buckets/x", 503)
    assert "The server cannot be reached" in browser.said
    assert "Check that it is running" in browser.said
    browser = opening(url, auth=USER)
    browser.get("/", 503)
    assert "The server cannot be reached" in browser.said


def test_a_server_that_dies_while_somebody_writes(opening: Callable[..., Browser]) -> None:
    """What was written is on the page of the error; credentials are not."""
    with open_memory() as server:
        with serve(server) as served:
            with Session(served.url, auth=USER, bucket="b", collection="c"):
                Bucket(id="b").save()
                Collection(id="c").save()
                record("r", x=1)
            browser = opening(served.url).log_in()
            browser.get("/buckets/b/collections/c/records/r")
        browser.send("/buckets/b/collections/c/records/r", 503, **{"value:x": "4711"})
    assert "What you had written x 4711" in browser.said


def test_a_form_from_before_the_login(browser: Browser, session: Session, at: str) -> None:
    """It is refused, and what was written is on the page."""
    record("a", x=1)
    browser.get(f"{at}/records/a")
    shown = browser.page
    browser.send("/logout")
    browser.log_in()
    browser.page = shown
    browser.send(f"{at}/records/a", 403, **{"value:x": "4711"})
    assert "This form is too old" in browser.said
    assert "What you had written x 4711" in browser.said


def test_an_answer_that_was_lost(opening: Callable[..., Browser], kinto: str) -> None:
    """Nobody knows whose write it was: so it is said, and saving again does no harm."""
    with FaultyServer(upstream=kinto) as proxy:
        with Session(proxy.url, auth=USER, bucket="lost", collection="c"):
            Bucket(id="lost").save()
            Collection(id="c").save()
            record("r", x=1)
        browser = opening(proxy.url).log_in()
        path = "/buckets/lost/collections/c/records/r"
        browser.get(path)
        proxy.answers.append(at_write(answer_lost))
        browser.send(path, 409, **{"value:x": "2"})
        assert "It is not known what was saved" in browser.said
        browser.send(f"{path}/merge")
        assert "Nothing had changed" in browser.said
        with Session(proxy.url, auth=USER, bucket="lost", collection="c"):
            assert Record.get("r")["x"] == 2


def test_what_is_no_kinto(opening: Callable[..., Browser]) -> None:
    """A page of something else is said to be one."""
    with FaultyServer(says(200, b"<html>")) as server:
        browser = opening(server.url)
        browser.get("/login")
        browser.send("/login", 502, user="tom", password="x")
    assert "no Kinto server" in browser.said


MISSING = [
    ("/buckets/nowhere", 403, "does not exist"),
    ("/buckets/{bucket}/collections/nowhere", 404, "This is not there"),
    ("/buckets/{bucket}/collections/todos/records/nowhere", 404, "This is not there"),
    ("/buckets/{bucket}/collections/todos/records/nowhere/permissions", 404, "not there"),
    ("/buckets/{bucket}/groups/nowhere", 404, "This is not there"),
    ("/buckets/{bucket}/keys/nowhere", 404, "This is not there"),
    ("/buckets/{bucket}/templates/nowhere", 404, "This is not there"),
    ("/nowhere", 404, "There is no such page"),
    ("/buckets/{bucket}/nowhere", 404, "There is no such page"),
]


@pytest.mark.parametrize(("path", "status", "said"), MISSING)
def test_what_is_not_there(
    browser: Browser, session: Session, path: str, status: int, said: str
) -> None:
    """It is said, with the way up and the way back to the beginning."""
    browser.get(path.format(bucket=session.bucket), status)
    assert said in browser.said
    assert "One level up" in browser.said


def test_the_way_up(browser: Browser, session: Session, at: str) -> None:
    """It leads to the collection, to the bucket, to all buckets."""
    for path, up in [
        (f"{at}/records/nowhere", at),
        (f"/buckets/{session.bucket}/collections/nowhere", f"/buckets/{session.bucket}"),
        ("/buckets/nowhere", "/"),
    ]:
        text = browser.client.get(path).text
        assert f'<a class="button" href="{up}">One level up' in text


def test_no_permission(opening: Callable[..., Browser], session: Session, at: str) -> None:
    """Somebody else's bucket is refused with a page."""
    record("a", x=1)
    browser = opening().log_in("somebody-else", "x")
    for path in (f"/buckets/{session.bucket}", at, f"{at}/records/a"):
        browser.get(path, 403)
        assert "Ask whoever owns it" in browser.said


def test_ids_that_cannot_be(browser: Browser, session: Session) -> None:
    """A new bucket, collection or group of such a name is refused with a page."""
    browser.get("/")
    for id in ("<b>", "", "a b"):
        browser.get("/")
        browser.send("/buckets", 422, id=id)
    browser.get("/")
    browser.send("/buckets", 409, id=session.bucket)
    assert "of this name already" in browser.said
    page = f"/buckets/{session.bucket}"
    browser.get(page)
    browser.send(f"{page}/collections", 422, id="a/b")
    browser.get(page)
    browser.send(f"{page}/collections", id="fresh")
    assert "The collection fresh is there" in browser.said


def test_opening_by_name(browser: Browser, session: Session) -> None:
    """What is shared need not be in the list."""
    bucket = session.bucket
    for name, path in [
        (bucket, f"/buckets/{bucket}"),
        (f" {bucket} / todos ", f"/buckets/{bucket}/collections/todos"),
        ("", "/"),
    ]:
        browser.get("/open", params={"name": name})
        assert browser.page.url.path == path


def test_a_list_that_may_not_be_seen(opening: Callable[..., Browser], strict: str) -> None:
    """Without the right to list buckets the page offers to open one by its name."""
    browser = opening(strict)
    browser.get("/login")
    data = {"csrf": browser.form("/login").values["csrf"], "anonymous": "1"}
    browser.page = browser.client.post("/login", data=data)
    assert browser.page.status_code == 200
    assert "no buckets that you may list" in browser.said
    assert "Open by name" in browser.said


# The process


def test_the_process(kinto: str) -> None:
    """It says its address, answers there only, prints nothing else, and ends when interrupted."""
    command = [sys.executable, "-W", "error", "-m", "kinto_orm.web", "--server", kinto]
    process = subprocess.Popen(
        [*command, "--port", "0", "--read-only", "--auth", ":".join(USER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        answer = requests.get(address, timeout=30)
        assert answer.status_code == 200
        assert "only reads" in answer.text
        assert "server" not in answer.headers
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (out, err) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--server", "nonsense"], "no server URL"),
        (["--server", "http://h/v1", "--host", "0.0.0.0", "--auth", "a:s3cret"], "everyone"),
        (["--server", "http://a:s3cret@h/v1", "--host", "::"], "everyone"),
        ([], "no server"),
    ],
)
def test_what_cannot_begin(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with a sentence, and without a traceback or a password."""
    assert main(["--port", "0", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert "s3cret" not in error


def test_a_port_that_is_taken(kinto: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        assert main(["--server", kinto, "--port", str(taken.getsockname()[1])]) == 2
    assert "in use" in capsys.readouterr().err


def test_a_fault_of_the_page(kinto: str, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expects has a page, too, which says nothing of its cause."""

    async def broken(request: Request) -> Response:
        raise ZeroDivisionError("s3cret")

    page = app(kinto)
    page.router.routes.insert(0, Route("/broken", broken))
    with TestClient(page, base_url=HERE, raise_server_exceptions=False) as client:
        answer = client.get("/broken")
    assert answer.status_code == 500
    assert "This page has a fault" in answer.text
    assert "s3cret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_server_without_the_history_plugin(opening: Callable[..., Browser]) -> None:
    """The pages that need it say so; all others work."""
    with bare_session() as session:
        Bucket(id="b").save()
        Collection(id="c").save()
        Record(id="r").save(session=session.scoped(collection="c"))
        browser = opening(session.server_url).log_in(*own_user("not a secret"))
        at = "/buckets/b/collections/c"
        for path in (at, f"{at}/records/r", f"{at}/changes", "/buckets/b"):
            browser.get(path)
        for path in (f"{at}/records/r/history", f"{at}/deleted", f"{at}/history"):
            browser.get(path, 501)
            assert "lacks the capability 'history'" in browser.said
