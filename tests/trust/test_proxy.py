"""What the proxy of the matrix promises to whoever judges."""

from __future__ import annotations

import threading
import time

import pytest

from kinto_orm import Retry, Session, Timeout
from kinto_orm.server import open_memory, serve
from trust.proxy import Exchange, Proxy


def test_what_another_writes_is_waited_for() -> None:
    """The client may have given up by then: the server is looked at when all have ended."""
    done = []

    def write_late() -> None:
        time.sleep(0.3)
        done.append("theirs")

    def play(exchange: Exchange) -> None:
        exchange.let(write_late)
        exchange.close()

    with open_memory() as kinto, serve(kinto) as served, Proxy(served.url) as proxy:
        proxy.arm(lambda number, request: play)
        with (
            Session(proxy.url, auth=("a", "b"), timeout=(1.0, 0.05), retry=Retry(0)) as session,
            pytest.raises(Timeout),
        ):
            session.server_info()
        assert not done
        proxy.disarm()
        assert done == ["theirs"]


def test_what_is_held_ends_when_the_client_has_gone_away() -> None:
    """Whoever waits until all has settled does not wait for an answer that nobody awaits."""
    ended = threading.Event()

    def play(exchange: Exchange) -> None:
        if exchange.hold(60.0):
            ended.set()
        exchange.close()

    with open_memory() as kinto, serve(kinto) as served, Proxy(served.url) as proxy:
        proxy.arm(lambda number, request: play)
        with (
            Session(proxy.url, auth=("a", "b"), timeout=(1.0, 0.05), retry=Retry(0)) as session,
            pytest.raises(Timeout),
        ):
            session.server_info()
        proxy.settle()
        assert ended.wait(30)


def test_what_is_sent_later_is_done_later() -> None:
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

    with (
        open_memory() as kinto,
        serve(kinto) as served,
        Proxy(served.url) as proxy,
        Session(proxy.url, auth=("a", "b")) as session,
    ):
        client, another = threading.Thread(target=ask), threading.Thread(target=write_late)
        client.start()
        another.start()
        another.join()
        client.join()
        assert done == ["theirs", "ours"]
