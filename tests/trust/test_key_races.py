"""Races for key values: nothing is lost, and nothing is given to two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from kinto_orm import Session
from trust.races import INCREMENTS, RACERS, winners, won


def test_nested_counters_end_exact(races: Session) -> None:
    """Writers below one key lose nothing: the kind of counter that key values allow."""
    races.kv["list"] = []

    def work(number: int) -> None:
        for _ in range(INCREMENTS // 8):
            races.kv["list/-"] = number

    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(work, range(RACERS)))
    assert sorted(races.kv["list"]) == sorted(list(range(RACERS)) * (INCREMENTS // 8))


def test_one_pops_a_key(races: Session, rounds: range) -> None:
    """Eight racers pop the same root key."""
    counts = []
    for number in rounds:
        races.kv[f"pop{number}"] = {"job": number}
        key = f"pop{number}"
        counts.append(winners(RACERS, lambda key=key: won(lambda: races.kv.pop(key))))
    assert counts == [1] * len(rounds)


def test_one_deletes_a_key(races: Session, rounds: range) -> None:
    """Eight racers delete the same root key; the others are told that there is none."""
    counts = []
    for number in rounds:
        races.kv[f"del{number}"] = number
        key = f"del{number}"
        counts.append(winners(RACERS, lambda key=key: won(lambda: races.kv.delete(key))))
    assert counts == [1] * len(rounds)


def test_each_pops_another_item(races: Session, rounds: range) -> None:
    """Of a list each gets an item of its own."""
    for number in rounds:
        races.kv["items"] = list(range(RACERS))
        popped: list[object] = []
        winners(
            RACERS,
            lambda popped=popped: won(  # type: ignore[misc]
                lambda: popped.append(races.kv.pop("items/0"))
            ),
        )
        left = races.kv["items"]
        assert sorted([*popped, *left]) == list(range(RACERS)), (number, popped, left)
