"""What is of an AsyncSession's transport only: credentials that are renewed, sockets, the extra."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from both import do, entered, told_kind
from faults import HTML, FaultyServer, says
from kinto_orm import (
    AsyncSession,
    BearerAuth,
    ConfigurationError,
    ConnectFailed,
    Record,
    Retry,
    Session,
    TransportError,
)
from kinto_orm.wire.aiotransport import once

RECORD = {"data": {"id": "x", "last_modified": 5, "title": "a"}}
OK = says(200, RECORD)


class Todo(Record, collection="todos"):
    title: str


async def fetch(url: str, times: int = 1, **options: Any) -> None:
    """Some GETs through a session of its own."""
    options.setdefault("retry", None)
    async with AsyncSession(url, bucket="b", **options) as session:
        for _ in range(times):
            assert (await session.get(Todo, "x")).title == "a"


def headers_of(auth: Any, times: int = 1) -> list[dict[str, str]]:
    """The headers of what a session with these credentials sends."""
    with FaultyServer(OK) as server:
        asyncio.run(fetch(server.url, times, auth=auth))
        return [each.headers for each in server.received]


# Credentials


def renewing() -> Callable[[], dict[str, str]]:
    tokens = iter(range(100))
    return lambda: {"Authorization": f"Bearer t{next(tokens)}"}


def renewing_later() -> Callable[[], Any]:
    renew = renewing()

    async def later() -> dict[str, str]:
        await asyncio.sleep(0)
        return renew()

    return later


@pytest.mark.parametrize("make", [renewing, renewing_later])
def test_a_function_is_asked_before_each_request(make: Callable[[], Any]) -> None:
    """So that a token can be renewed; a coroutine function serves as well."""
    sent = headers_of(make(), times=3)
    assert [each["Authorization"] for each in sent] == ["Bearer t0", "Bearer t1", "Bearer t2"]
    assert all(each["Accept"] == "application/json" for each in sent)


class Signing(requests.auth.AuthBase):
    """Signs what is sent, as the services of clouds want it."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-Signature"] = f"{request.method} {request.path_url}"
        return request


def test_an_authentication_of_requests_that_sets_headers() -> None:
    """It sees the method and the address of each request."""
    path = "/v1/buckets/b/collections/todos/records/x"
    assert headers_of(Signing())[0]["X-Signature"] == f"GET {path}"
    assert headers_of(HTTPBasicAuth("bob", "s3cret"))[0]["Authorization"].startswith("Basic ")
    assert headers_of(BearerAuth("abc"))[0]["Authorization"] == "Bearer abc"


class Redirecting(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.url = f"{request.url}?key=s3cret"
        return request


class Answering(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.register_hook("response", lambda response, **_: response)
        return request


@pytest.mark.parametrize("auth", [HTTPDigestAuth("bob", "s3cret"), Redirecting(), Answering()])
def test_an_authentication_that_does_more_is_refused(auth: Any) -> None:
    """Before anything is sent; the error says what serves."""
    with FaultyServer(OK) as server:
        with pytest.raises(ConfigurationError, match="function that returns headers") as error:
            asyncio.run(fetch(server.url, auth=auth))
        assert server.received == []
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "given", ["Bearer s3cret", None, 5, {"Authorization": "Bearer s3cret\n"}, {"a b": "s3cret"}]
)
def test_a_function_that_gives_no_headers(given: Any) -> None:
    """The error says so, and shows nothing of them."""
    with FaultyServer(OK) as server:
        with pytest.raises(ConfigurationError) as error:
            asyncio.run(fetch(server.url, auth=lambda: given))
        assert server.received == []
    assert "s3cret" not in str(error.value)


def test_no_error_shows_a_renewed_token() -> None:
    """Not even one that repeats the request."""
    echo = says(400, b"Authorization: Bearer t0xyz", Content_Type="text/plain")
    for answer in (echo, HTML, lambda exchange: exchange.hang_up()):
        with FaultyServer(answer) as server, pytest.raises(Exception) as error:
            asyncio.run(fetch(server.url, auth=lambda: {"Authorization": "Bearer t0xyz"}))
        assert "t0xyz" not in repr(error.value) + str(error.value)
        assert error.value.__cause__ is None or "t0xyz" not in str(error.value.__cause__)


def test_headers_that_are_not_ascii_are_sent_as_requests_sends_them() -> None:
    """Or refused; they never reach the server as something else."""
    with FaultyServer(OK) as server:
        with pytest.raises(ConfigurationError, match="ASCII"):
            asyncio.run(fetch(server.url, headers={"X-Team": "bl\xe4ulich"}))
        assert server.received == []


def test_alert_is_a_deprecation_warning() -> None:
    """It is shown where the program awaited."""
    alert = '{"code": "soft-eol", "message": "v1 goes", "url": "http://example.com"}'
    with (
        FaultyServer(says(200, RECORD, Alert=alert)) as server,
        pytest.warns(DeprecationWarning, match="v1 goes") as warned,
    ):
        asyncio.run(fetch(server.url))
    assert warned[0].filename == __file__


# Sockets


def test_a_write_is_not_sent_again_by_the_library_below() -> None:
    """A connection that breaks under a PUT: whether it may be repeated is decided here only."""
    with FaultyServer(OK, lambda exchange: exchange.hang_up()) as server:

        async def write() -> None:
            async with AsyncSession(server.url, bucket="b", retry=None) as session:
                todo = await session.get(Todo, "x")
                todo.title = "b"
                await todo.asave(force=True)

        with pytest.raises(ConnectFailed) as error:
            asyncio.run(write())
        assert error.value.lost
        assert server.methods == ["GET", "PUT"]


def test_the_middleware_does_the_same_as_the_switch() -> None:
    """It is what is used where aiohttp has the switch no more."""
    with FaultyServer(OK, lambda exchange: exchange.hang_up()) as server:

        async def write() -> None:
            async with aiohttp.ClientSession(middlewares=(once,)) as client:
                await (await client.get(server.url)).read()
                await client.put(server.url, data=b"{}")

        with pytest.raises(aiohttp.ClientError):
            asyncio.run(write())
        assert server.methods == ["GET", "PUT"]


def test_connections_are_bounded_kept_and_shared() -> None:
    """Hundreds of requests at once go over a few sockets, one after the other."""
    lock, now, most, addresses = threading.Lock(), 0, 0, set()

    def counted(exchange: Any) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            addresses.add(exchange.client_address)
        OK(exchange)
        with lock:
            now -= 1

    with FaultyServer(counted) as server:

        async def many() -> None:
            async with AsyncSession(server.url, bucket="b", retry=None) as session:
                await asyncio.gather(*(session.get(Todo, "x") for _ in range(400)))

        asyncio.run(many())
        assert len(server.received) == 400
    assert most <= 32
    assert len(addresses) <= 32


def test_no_cookies_are_kept() -> None:
    """A server that sets one gets nothing back."""
    with FaultyServer(says(200, RECORD, Set_Cookie="a=b; Path=/")) as server:
        asyncio.run(fetch(server.url, times=2))
        assert not any("Cookie" in each.headers for each in server.received)


def test_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for the whole address; its own credentials go to it only."""
    with FaultyServer(OK) as proxy:
        host = proxy.url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("HTTP_PROXY", f"http://p:q@{host}")
        monkeypatch.setenv("http_proxy", f"http://p:q@{host}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        asyncio.run(fetch("http://kinto.example/v1", auth="bob:s3cret"))
        (received,) = proxy.received
    assert received.target.startswith("http://kinto.example/v1/buckets/b/")
    assert received.headers["Proxy-Authorization"].startswith("Basic ")


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it, and what to do."""
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(ConfigurationError, match="socks5"):
        AsyncSession("http://kinto.example/v1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kinto")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[FaultyServer]:
    """A server that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FaultyServer(OK) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.url = server.url.replace("http:", "https:")
        yield server


def test_certificates_are_looked_at(secure: FaultyServer) -> None:
    """One that nobody vouches for ends it, before anything is sent."""
    with pytest.raises(ConnectFailed, match="TLS handshake") as error:
        asyncio.run(fetch(secure.url, auth="bob:s3cret"))
    assert not error.value.lost
    assert secure.received == []


def test_certificates_of_the_environment(
    secure: FaultyServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable of requests names those that are trusted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    asyncio.run(fetch(secure.url))
    assert len(secure.received) == 1


async def get_by(kind: Any, url: str, **options: Any) -> None:
    """Get something, by a session of either kind."""
    async with entered(kind(url, bucket="b", retry=None, **options)) as session:
        await do(session.get, Todo, "x")


@pytest.fixture(params=[Session, AsyncSession])
def kind(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Either session."""
    with told_kind(awaits=request.param is AsyncSession):
        yield request.param


async def test_certificates_that_are_given(
    kind: Any, secure: FaultyServer, certificate: Path
) -> None:
    """`verify` names those that are trusted, or says that none is looked at."""
    with pytest.raises(ConnectFailed):
        await get_by(kind, secure.url)
    await get_by(kind, secure.url, verify=str(certificate))
    await get_by(kind, secure.url, verify=certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # urllib3 warns that nobody looks at the certificate
        await get_by(kind, secure.url, verify=False)
    assert len(secure.received) == 3


async def test_a_certificate_of_ones_own(kind: Any, certificate: Path) -> None:
    """`cert` is shown to a server that asks for one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with FaultyServer(OK) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        with pytest.raises(TransportError):
            await get_by(kind, url, verify=certificate)
        await get_by(kind, url, verify=certificate, cert=str(certificate))
        await get_by(kind, url, verify=certificate, cert=(str(certificate), str(certificate)))
    assert len(server.received) == 2


async def test_a_proxy_that_is_given(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes before what the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with FaultyServer(OK) as proxy:
        there = f"http://127.0.0.1:{proxy.server_port}"
        await get_by(kind, "http://kinto.example/v1", proxies={"http": there})
    (received,) = proxy.received
    assert received.target.startswith("http://kinto.example/v1/")


@pytest.mark.parametrize(
    "wrong",
    [
        {"verify": "/no/such/file"},
        {"verify": 1.5},
        {"cert": "/no/such/file"},
        {"cert": 5},
        {"proxies": "http://user:s3cret@proxy"},
        {"proxies": {"http": None}},
    ],
)
def test_a_way_that_cannot_be(kind: Any, wrong: dict[str, Any]) -> None:
    """It is refused when the session is opened, without a password in the message."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))) as error:
        kind("https://kinto.example/v1", **wrong)
    assert "s3cret" not in str(error.value)


def test_a_deadline_ends_a_wait_for_a_free_connection() -> None:
    """More requests than connections, on a server that says nothing: none waits for longer."""

    def silent(exchange: Any) -> None:
        exchange.server.closing.wait(10)

    with FaultyServer(silent) as server:

        async def many() -> list[Any]:
            retry = Retry(0, deadline=0.5)
            async with AsyncSession(server.url, bucket="b", retry=retry) as session:
                gets = (session.get(Todo, "x") for _ in range(40))
                return await asyncio.gather(*gets, return_exceptions=True)

        found = asyncio.run(many())
    assert all(isinstance(each, TransportError) for each in found)


# What is loaded


def run(code: str) -> str:
    """What an interpreter of its own says."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_importing_the_library_imports_neither_aiohttp_nor_asyncio() -> None:
    """Programs that block pay nothing for those that await."""
    code = (
        "import sys, kinto_orm; from kinto_orm import AsyncSession, Record, Session, Template\n"
        "print([name for name in ('aiohttp', 'asyncio') if name in sys.modules])"
    )
    assert run(code) == "[]\n"


def test_without_the_extra_the_error_says_what_to_install() -> None:
    """Over HTTP; an embedded server needs no aiohttp."""
    code = (
        "import asyncio, sys; sys.modules['aiohttp'] = None\n"
        "from kinto_orm import AsyncSession, ConfigurationError, Record\n"
        "try: AsyncSession('http://127.0.0.1:1/v1')\n"
        "except ConfigurationError as error: print(error)\n"
        "async def main():\n"
        "    async with AsyncSession('memory://') as session:\n"
        "        await session.kv.set('a', 1)\n"
        "        print(await session.kv.get('a'))\n"
        "asyncio.run(main())"
    )
    said, value = run(code).splitlines()
    assert "pip install 'kinto-orm[async]'" in said
    assert value == "1"
