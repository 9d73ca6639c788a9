"""Three clients do what they like, and the network what it likes: a model says what is right."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from conftest import Backend
from kinto_orm import (
    BatchError,
    Conflict,
    KintoError,
    NotFound,
    Record,
    Retry,
    Session,
)
from kinto_orm.server import LoopbackServer
from trust.direct import Direct
from trust.held import Held, Weather, weathers
from trust.proxy import Exchange, Proxy, Received

CLIENTS = 3
# One user: the server shows permissions to those only who may write the object.
AUTH = ("alice", "s3cret")
IDS = ("one", "two", "three")
PRINCIPALS = ("system.Everyone", "system.Authenticated", "basicauth:x")
Objects = dict[str, dict[str, Any]]
_values = st.integers(0, 2)
_fields = st.sampled_from(["a", "b"])


class Note(Record, collection="notes"):
    """The typed one; other fields of a stored record stay with it."""

    a: int = 0
    b: int = 0
    tags: list[int] = []


class Clients(RuleBasedStateMachine):
    """The model; a subclass says which server."""

    backend: Backend
    upstream: str
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self.bucket = self.backend.new_id("m")
        self.direct = Direct(self.upstream, AUTH)
        self._open.callback(self.direct.close)
        self.proxies = [self._open.enter_context(Proxy(self.upstream)) for _ in range(CLIENTS)]
        self.sessions = [self._session(proxy) for proxy in self.proxies]
        inside = f"/buckets/{self.bucket}"
        self.direct.ask("PUT", inside)
        self.direct.ask("PUT", f"{inside}/collections/notes")

    def _session(self, proxy: Proxy) -> Session:
        retry = Retry(3, deadline=20.0, backoff_factor=0.002, retry_after_max=0.01)
        session = Session(
            proxy.url, auth=AUTH, bucket=self.bucket, collection="notes", timeout=20.0, retry=retry
        )
        self._open.callback(session.close)
        return session

    def teardown(self) -> None:
        self._open.close()

    # Looking

    def look(self) -> Objects:
        """What the server has, by id."""
        path = f"/buckets/{self.bucket}/collections/notes/records"
        ids = [each["id"] for each in self.direct.ask("GET", path)[1]["data"]]
        answers = self.direct.batch([("GET", f"{path}/{id}", None) for id in ids]) if ids else []
        found = {}
        for id, answer in zip(ids, answers, strict=True):
            body = answer["body"]
            data = {k: v for k, v in body["data"].items() if k not in ("id", "last_modified")}
            found[id] = {
                "data": data,
                "version": body["data"]["last_modified"],
                "read": set(body["permissions"].get("read", [])),
            }
        return found

    def _with(
        self, client: int, weather: Weather, held: Held | None, work: Callable[[], Any]
    ) -> tuple[Any, KintoError | None, Objects, Objects]:
        """Work in this weather; the result or the error, what was there before and after."""
        before = self.look()
        seen = [before]
        proxy = self.proxies[client]
        proxy.arm(partial(self._choice, weather, held, seen))
        result, error = None, None
        try:
            result = work()
        except KintoError as raised:
            error = raised
        except BatchError as raised:
            error = raised  # type: ignore[assignment]
        finally:
            proxy.disarm()
        return result, error, seen[-1], self.look()

    def _choice(
        self,
        weather: Weather,
        held: Held | None,
        seen: list[Objects],
        number: int,
        request: Received,
    ) -> Callable[[Exchange], None] | None:
        fault = weather.fault
        if fault is None or number != weather.number or not fault.only(request):
            return None
        if not weather.meanwhile or fault.done or held is None or request.method == "GET":
            return fault.play

        def play(exchange: Exchange) -> None:
            self._meanwhile(weather.meanwhile, held)
            seen.append(self.look())
            assert fault is not None
            fault.play(exchange)

        return play

    def _meanwhile(self, what: str, held: Held) -> None:
        """Another program writes to the same object: the same, or something else."""
        path = f"/buckets/{self.bucket}/collections/notes/records/{held.id}"
        stored = self.look().get(held.id, {"data": {}, "read": set()})
        data = held.applied(stored)["data"] if what == "equal" else {**stored["data"], "a": 99}
        self.direct.ask("PUT", path, {"data": data})

    # Judging

    def _others_are_untouched(self, before: Objects, after: Objects, *ids: str) -> None:
        kept = {id: each for id, each in before.items() if id not in ids}
        assert kept == {id: each for id, each in after.items() if id not in ids}

    def _judge_save(
        self, held: Held, error: Exception | None, before: Objects, after: Objects, calm: bool
    ) -> None:
        """A save was acknowledged, or it was not."""
        there, now = before.get(held.id), after.get(held.id)
        empty: dict[str, Any] = {"data": {}, "read": set()}
        wanted = held.applied(there or empty)
        if error is None:
            if held.needs_a_write(there):
                assert held.goes_by(there), "acknowledged, though it was changed meanwhile"
                assert now is not None, "acknowledged, but it is not there"
                assert _same(now, wanted), f"acknowledged {wanted}, stored {now}"
                held.settled(now["version"], now["data"])
            else:
                assert now == there, "nothing was to be saved"
                known = held.record.last_modified
                assert known in (held.version, now["version"] if now else None)
                held.settled(known, now["data"] if now and known == now["version"] else held.base)
            assert held.record.diff() == {}
            return
        assert now == there or _same(now, wanted), f"{there} became {now}, wanted {wanted}"
        if now != there or not isinstance(error, Conflict):
            held.lost()
        fresh = (there["version"] if there else None) == held.version
        assert not (calm and fresh and not held.gone), f"refused without a reason: {error}"
        if isinstance(error, Conflict):
            held.conflict = error

    # Rules

    @initialize(target=held)
    def begin(self) -> Any:
        return multiple()

    @rule(
        target=held,
        client=st.integers(0, CLIENTS - 1),
        id=st.sampled_from([*IDS, None]),
        typed=st.booleans(),
        values=st.fixed_dictionaries({"a": _values, "b": _values}),
        read=st.sets(st.sampled_from(PRINCIPALS), max_size=1),
        weather=weathers(),
    )
    def create(
        self,
        client: int,
        id: str | None,
        typed: bool,
        values: dict[str, int],
        read: set[str],
        weather: Weather,
    ) -> Any:
        kind = Note if typed else Record
        fixed = {} if id is None else {"id": id}
        permissions = {"permissions": {"read": read}} if read else {}
        record = kind(**fixed, **values, **permissions)
        held = Held(client, record, granted=set(read))
        held.edits = {**values, "tags": []} if typed else dict(values)
        # Nobody else writes to an id that was just made.
        self._save(held, replace(weather, meanwhile="") if id is None else weather)
        return held

    @rule(
        target=held,
        client=st.integers(0, CLIENTS - 1),
        id=st.sampled_from(IDS),
        typed=st.booleans(),
        weather=weathers(),
    )
    def load(self, client: int, id: str, typed: bool, weather: Weather) -> Any:
        kind = Note if typed else Record
        found, error, before, after = self._with(
            client, weather, None, lambda: kind.get(id, session=self.sessions[client])
        )
        assert before == after
        if error is not None:
            missing = isinstance(error, NotFound)
            assert weather.fault is not None or (missing and id not in before)
            assert not missing or id not in before
            return multiple()
        assert found.diff() == {}
        assert found.last_modified == before[id]["version"]
        assert found.permissions.read == before[id]["read"]
        return self._loaded(client, found, before)

    @rule(target=held, client=st.integers(0, CLIENTS - 1), typed=st.booleans(), weather=weathers())
    def list(self, client: int, typed: bool, weather: Weather) -> Any:
        kind = Note if typed else Record
        found, error, before, after = self._with(
            client, weather, None, lambda: kind.find(session=self.sessions[client]).all()
        )
        assert before == after
        if error is not None:
            assert weather.fault is not None
            return multiple()
        assert {each.id: each.last_modified for each in found} == {
            id: each["version"] for id, each in before.items()
        }
        assert all(each.diff() == {} for each in found)
        return multiple(*(self._loaded(client, each, before) for each in found[:2]))

    def _loaded(self, client: int, record: Record, there: Objects) -> Held:
        held = Held(client, record)
        held.seen(record.last_modified, there[record.id]["data"])
        return held

    @rule(held=held, name=_fields, value=_values)
    def change(self, held: Held, name: str, value: int) -> None:
        if held.gone:
            return
        held.record[name] = value
        held.edits[name] = value
        held.removed.discard(name)

    @rule(held=held, name=_fields)
    def remove(self, held: Held, name: str) -> None:
        if held.gone or isinstance(held.record, Note) or name not in held.record.model_dump():
            return
        del held.record[name]
        held.edits.pop(name, None)
        if held.version is not None:
            held.removed.add(name)

    @rule(held=held, value=_values)
    def append(self, held: Held, value: int) -> None:
        if held.gone or not isinstance(held.record, Note):
            return
        held.record.tags.append(value)
        held.edits["tags"] = copy.copy(held.record.tags)

    @rule(held=held, principal=st.sampled_from(PRINCIPALS))
    def grant(self, held: Held, principal: str) -> None:
        if not held.gone:
            held.permit(principal, grant=True)

    @rule(held=held, principal=st.sampled_from(PRINCIPALS))
    def revoke(self, held: Held, principal: str) -> None:
        if not held.gone:
            held.permit(principal, grant=False)

    @rule(held=held, weather=weathers())
    def save(self, held: Held, weather: Weather) -> None:
        self._save(held, weather)

    @rule(held=held, name=_fields, value=_values, weather=weathers())
    def change_and_save(self, held: Held, name: str, value: int, weather: Weather) -> None:
        self.change(held, name, value)
        self._save(held, weather)

    @rule(held=held, principal=st.sampled_from(PRINCIPALS), grant=st.booleans(), weather=weathers())
    def permit_and_save(self, held: Held, principal: str, grant: bool, weather: Weather) -> None:
        (self.grant if grant else self.revoke)(held, principal)
        self._save(held, weather)

    def _save(self, held: Held, weather: Weather) -> None:
        _, error, before, after = self._with(
            held.client,
            weather,
            held,
            lambda: held.record.save(session=self.sessions[held.client]),
        )
        self._others_are_untouched(before, after, held.id)
        self._judge_save(held, error, before, after, weather.fault is None)

    @rule(held=held, weather=weathers())
    def save_permissions(self, held: Held, weather: Weather) -> None:
        if held.gone or held.version is None:
            return
        _, error, before, after = self._with(
            held.client, weather, held, held.record.permissions.save
        )
        self._others_are_untouched(before, after, held.id)
        there, now = before.get(held.id), after.get(held.id)
        if there is None or now is None:
            assert error is not None or not (held.granted or held.revoked)
            return
        wanted = (there["read"] | held.granted) - held.revoked
        assert now["data"] == there["data"]
        if error is not None:
            assert now["read"] in (there["read"], wanted)
            if now != there or not isinstance(error, Conflict):
                held.lost()
            assert weather.fault is not None, f"refused without a reason: {error}"
            return
        assert now["read"] == wanted, "acknowledged permissions that are not there"
        held.granted, held.revoked = set(), set()
        if held.record.last_modified == now["version"]:
            assert held.reads(now["data"]), "it goes by data that it has not seen"
            held.version = now["version"]

    @rule(held=held, keep=st.booleans(), weather=weathers())
    def refresh(self, held: Held, keep: bool, weather: Weather) -> None:
        if held.gone or held.version is None:
            return
        _, error, before, after = self._with(
            held.client, weather, None, lambda: held.record.refresh(keep_changes=keep)
        )
        assert before == after
        there = before.get(held.id)
        if error is not None:
            assert weather.fault is not None or there is None
            assert not isinstance(error, NotFound) or there is None
            return
        assert there is not None
        assert held.record.last_modified == there["version"]
        if keep:
            held.seen(there["version"], there["data"])
            held.conflict = None
        else:
            held.settled(there["version"], there["data"])
            assert held.record.diff() == {}
            assert held.record.permissions.read == there["read"]

    @rule(held=held, prefer=st.sampled_from([None, "local", "remote"]))
    def merge(self, held: Held, prefer: Any) -> None:
        conflict, held.conflict = held.conflict, None
        if conflict is None or held.gone:
            return
        there = self.look().get(held.id)
        if there is None or conflict.remote is None:
            return
        if conflict.remote.last_modified != there["version"]:
            return
        try:
            merged = conflict.merge(prefer)
        except Conflict as again:
            assert prefer is None
            held.conflict = again
            return
        assert merged is held.record
        held.seen(there["version"], there["data"])
        if prefer == "remote":
            kept = set(held.record.diff())
            held.edits = {n: v for n, v in held.edits.items() if n in kept}
            held.removed &= kept

    @rule(held=consumes(held), missing_ok=st.booleans(), weather=weathers())
    def delete(self, held: Held, missing_ok: bool, weather: Weather) -> None:
        if held.gone or held.version is None:
            return
        _, error, before, after = self._with(
            held.client, weather, held, lambda: held.record.delete(missing_ok=missing_ok)
        )
        self._others_are_untouched(before, after, held.id)
        there, now = before.get(held.id), after.get(held.id)
        if error is None:
            assert now is None, "acknowledged, but it is there"
            assert there is None or there["version"] == held.version, "another's write was deleted"
            assert there is not None or missing_ok, "there was nothing to delete"
        else:
            assert now in (None, there)
            fresh = there is not None and there["version"] == held.version
            assert weather.fault is not None or not fresh, f"refused without a reason: {error}"

    @rule(several=st.lists(held, min_size=1, max_size=4), weather=weathers())
    def batch(self, several: list[Held], weather: Weather) -> None:
        client = several[0].client
        chosen: dict[str, Held] = {}
        for each in several:
            if each.client == client and not each.gone:
                chosen.setdefault(each.id, each)
        if not chosen:
            return
        session = self.sessions[client]
        batch = session.batch()
        outcomes = {}

        def work() -> None:
            with batch:
                for each in chosen.values():
                    batch.save(each.record)
                    outcomes[each.id] = batch.outcomes[-1]

        first = next(iter(chosen.values()))
        _, failed, before, after = self._with(client, weather, first, work)
        self._others_are_untouched(before, after, *chosen)
        for id, each in chosen.items():
            outcome = outcomes[id]
            # What is still queued was not sent: the batch itself failed.
            error = failed if outcome.status == "queued" else outcome.error
            self._judge_save(each, error, before, after, weather.fault is None)


def _same(now: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """Whether the server has what was wanted; its own additions to permissions do not count."""
    return now is not None and now["data"] == wanted["data"] and now["read"] == wanted["read"]


@pytest.fixture
def machine(backend: Backend, loopback: LoopbackServer) -> type[Clients]:
    return type("Machine", (Clients,), {"backend": backend, "upstream": loopback.url})


def test_no_acknowledged_write_vanishes(machine: type[Clients]) -> None:
    """No write vanishes without a conflict, no permission is missing, loading changes nothing."""
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=settings().max_examples // 4, stateful_step_count=30),
    )
