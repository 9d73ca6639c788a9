"""Collections, groups and accounts."""

from __future__ import annotations

import base64
import itertools
from typing import Any

from kinto_orm import (
    Account,
    Bucket,
    Collection,
    Conflict,
    Forbidden,
    Group,
    Retry,
    Unauthorized,
)
from trust.faults import FAULTS
from trust.many import only_stored
from trust.operation import nothing, operation
from trust.world import PASSWORD, World, seen

GROUP = "groups/writers"
# It is looked for in all texts, as the password is.
CHANGED = f"{PASSWORD}!"
NOBODY = {"Authorization": ""}
# Bcrypt takes the server longer than others wait for an answer, and a fault must not be longer.
BCRYPT = 30.0
PATIENT = {
    "timeout": (20.0, 20.0),
    "retry": Retry(3, backoff_factor=0.005, backoff_max=0.02, retry_after_max=0.05),
}
SLOW = dict.fromkeys(
    [each.name for each in FAULTS if each.name.split("_")[0] in ("drip", "timeout")]
    + ["lost_timeout"],
    "checking a password takes the server longer than these faults wait",
)
_numbers = itertools.count(1)


async def _bucket(world: World) -> Bucket:
    world.put(GROUP, {"members": ["basicauth:b"]}, read=["system.Everyone"])
    world.put("groups/readers", {"members": []})
    return await world.do(Bucket).get(world.bucket, session=world.session)  # type: ignore[no-any-return]


async def _group(world: World) -> Group:
    return await world.do((await _bucket(world)).groups).get("writers")  # type: ignore[no-any-return]


# Groups


@operation(prepare=_bucket)
async def group_find(world: World, bucket: Bucket) -> Any:
    return sorted([each.id async for each in world.do(bucket.groups.find())])


@operation(GROUP, prepare=_group)
async def group_delete(world: World, group: Group) -> Any:
    return seen(await world.do(group).delete())


@operation(GROUP, prepare=_group, claims=nothing)
async def group_permissions_revoke(world: World, group: Group) -> Any:
    await world.do(group.permissions.revoke("read", "system.Everyone")).save()
    return seen(group.permissions.read)


# Collections


async def _collection(world: World) -> Collection:
    world.put("collections/copies", {"sort": "title"})
    found = await world.do(Bucket(id=world.bucket)).refresh(session=world.session)
    return await world.do(found.collections).get("copies")  # type: ignore[no-any-return]


async def _with_record(world: World) -> Collection:
    found = await _collection(world)
    world.put("collections/copies/records/x", {"title": "x"})
    return await world.do(found).refresh()  # type: ignore[no-any-return]


@operation("collections/copies", prepare=_collection)
async def collection_save_changed(world: World, collection: Collection) -> Any:
    collection["sort"] = "-title"
    return seen(await world.do(collection).save())


@operation("collections/copies", prepare=_with_record)
async def collection_delete(world: World, collection: Collection) -> Any:
    return seen(await world.do(collection).delete())


@operation(prepare=only_stored, skips=2)
async def collection_records(world: World, _: None) -> Any:
    found = await world.do(Bucket(id=world.bucket)).refresh(session=world.session)
    records = (await world.do(found.collections).get("todos")).records
    return seen(await world.do(records.find()).all())


# Accounts: they are in no bucket, and who can log in says what is stored.


def _account(world: World) -> Account:
    name = f"user{next(_numbers)}"
    world.name(name, "user")
    return Account(id=name, password=PASSWORD)


async def _stored_account(world: World) -> Account:
    """An account, loaded by its own user."""
    made = _account(world)
    status, answer = world.direct.ask(
        "PUT", f"/accounts/{made.id}", {"data": {"password": PASSWORD}}, NOBODY
    )
    assert status == 201, answer
    session = world.opened(auth=(made.id, PASSWORD), **PATIENT)
    return await world.do(Account).get(made.id, session=session)  # type: ignore[no-any-return]


def _logs_in(world: World, name: str, password: str) -> bool:
    token = base64.b64encode(f"{name}:{password}".encode()).decode()
    _, root = world.direct.ask("GET", "/", headers={"Authorization": f"Basic {token}"})
    return bool(root.get("user", {}).get("id") == f"account:{name}")


async def _saved(world: World, account: Account, password: str, **options: Any) -> Any:
    """Save it. A login tells what became of it, where the session itself cannot tell that."""
    try:
        await world.do(account).save(**options)
    except (Conflict, Unauthorized, Forbidden) as error:
        session = world.opened(auth=(account.id, password), **PATIENT)
        # This server knows any name and password, but not as those of an account.
        if (await world.do(session).account()).id != account.id:
            raise error from None
    return [account.id, _logs_in(world, account.id, password)]


@operation(prepare=_account, skips=1, excused=SLOW, longer=BCRYPT)
async def account_save_new(world: World, account: Account) -> Any:
    session = world.opened(auth=None, **PATIENT)
    return await _saved(world, account, PASSWORD, session=session)


@operation(prepare=_stored_account, excused=SLOW, longer=BCRYPT)
async def account_change_password(world: World, account: Account) -> Any:
    account.password = CHANGED
    return await _saved(world, account, CHANGED)
