"""What the proxy of the matrix promises to whoever judges."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from kinto_orm import Retry, Session, Timeout
from kinto_orm.server import open_memory, serve
from trust.proxy import Exchange, Proxy

AUTH = ("alice", "of-no-importance")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with open_memory() as kinto, serve(kinto) as served, Proxy(served.url) as proxy:
        yield proxy


def give_up(proxy: Proxy, play: Callable[[Exchange], None]) -> None:
    """Ask what is treated like that, and wait no longer than a moment for the answer."""
    proxy.arm(lambda number, request: play)
    with (
        Session(proxy.url, auth=AUTH, timeout=(1.0, 0.05), retry=Retry(0)) as session,
        pytest.raises(Timeout),
    ):
        session.server_info()


def test_what_another_writes_is_waited_for(proxy: Proxy) -> None:
    """The client may have given up by then: the server is looked at when all have ended."""
    done = []

    def write_late() -> None:
        time.sleep(0.3)
        done.append("theirs")

    def play(exchange: Exchange) -> None:
        exchange.let(write_late)
        exchange.close()

    give_up(proxy, play)
    assert not done
    proxy.disarm()
    assert done == ["theirs"]


def test_what_is_held_ends_when_the_client_has_gone_away(proxy: Proxy) -> None:
    """Whoever waits until all has settled does not wait for an answer that nobody awaits."""
    ended = threading.Event()

    def play(exchange: Exchange) -> None:
        if exchange.hold(60.0):
            ended.set()
        exchange.close()

    give_up(proxy, play)
    proxy.settle()
    assert ended.wait(30)


def test_what_is_sent_later_is_done_later(proxy: Proxy) -> None:
    """Another writer who is slow has written before the server sees what a client sends again."""
    done = []
    begun = threading.Event()

    def write_late() -> None:
        with proxy.working():
            begun.set()
            client.join(0.3)
            done.append("theirs")

    def ask() -> None:
        begun.wait(30)
        session.server_info()
        done.append("ours")

    with Session(proxy.url, auth=AUTH) as session:
        client, another = threading.Thread(target=ask), threading.Thread(target=write_late)
        client.start()
        another.start()
        another.join()
        client.join()
        assert done == ["theirs", "ours"]
