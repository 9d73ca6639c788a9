"""Requests of the program's own: it looks itself at what the answer is about."""

from __future__ import annotations

from typing import Any

from trust.many import only_stored
from trust.operation import ONE, nothing, operation
from trust.world import World

OTHERS = {"somebody_else": "whoever sends a request of his own looks himself whom its answer is of"}


def _stored(world: World) -> None:
    world.put(ONE, {"title": "one"})


async def _data(world: World, method: str, path: str = ONE, **options: Any) -> Any:
    reply = await world.do(world.session).request(
        method, f"/buckets/{world.bucket}/{path}", **options
    )
    return reply.object["data"]


@operation(prepare=_stored, excused=OTHERS)
async def request_get(world: World, _: None) -> Any:
    return await _data(world, "GET")


@operation(prepare=only_stored)
async def request_list(world: World, _: None) -> Any:
    reply = await world.do(world.session).request(
        "GET",
        f"/buckets/{world.bucket}/collections/todos/records",
        query={"_sort": "id", "eq_title": "t1"},
    )
    return reply.objects


@operation(prepare=only_stored)
async def request_head(world: World, _: None) -> Any:
    path = f"/buckets/{world.bucket}/collections/todos/records"
    return (await world.do(world.session).request("HEAD", path)).total


@operation(ONE, prepare=_stored, overwrites=True, excused=OTHERS)
async def request_put(world: World, _: None) -> Any:
    return await _data(world, "PUT", json={"data": {"title": "new"}})


@operation(ONE, prepare=_stored, overwrites=True, claims=nothing, excused=OTHERS)
async def request_patch(world: World, _: None) -> Any:
    return await _data(world, "PATCH", json={"data": {"note": "new"}})


@operation(ONE, prepare=_stored, overwrites=True, excused=OTHERS)
async def request_delete(world: World, _: None) -> Any:
    return await _data(world, "DELETE")


# Kinto answers with what is there already, and ignores what is sent.
@operation(ONE, claims=nothing, excused=OTHERS)
async def request_post(world: World, _: None) -> Any:
    path = "collections/todos/records"
    return await _data(world, "POST", path, json={"data": {"id": "one", "title": "new"}})
