"""Key values, templates, and what belongs to the server."""

from __future__ import annotations

from typing import Any

from kinto_orm import (
    Bucket,
    Collection,
    Group,
    Template,
)
from trust.many import only_stored
from trust.operation import KEY, ONE, TEMPLATE, nothing, operation
from trust.world import Todo, World, seen

# Key values


def _keys(world: World) -> None:
    world.key("a", {"b": {"c": 1}, "list": [1, 2]})
    world.put("collections/kv/records/z", {"key": "z", "value": "end"})


@operation(prepare=_keys)
async def kv_get(world: World, _: None) -> Any:
    return await world.do(world.session.kv).__getitem__("a/b")


@operation(prepare=_keys)
async def kv_get_default(world: World, _: None) -> Any:
    return await world.do(world.session.kv).get("a/b", "DEFAULT")


@operation(prepare=_keys)
async def kv_contains(world: World, _: None) -> Any:
    return await world.do(world.session.kv).__contains__("a")


@operation(
    prepare=_keys,
    personal=True,
    excused={"forbidden_403": "that is how Kinto says of a personal bucket that it was never used"},
)
async def kv_get_personal(world: World, _: None) -> Any:
    return await world.do(world.session.kv).get("a/b", "DEFAULT")


@operation(KEY, overwrites=True)
async def kv_set_first_key(world: World, _: None) -> Any:
    await world.do(world.session.kv).__setitem__("a", {"b": 1})


@operation(KEY, prepare=_keys, overwrites=True)
async def kv_set_root(world: World, _: None) -> Any:
    await world.do(world.session.kv).__setitem__("a", {"new": True})


@operation(KEY, prepare=_keys, overwrites=True, personal=True)
async def kv_set_root_personal(world: World, _: None) -> Any:
    await world.do(world.session.kv).__setitem__("a", {"new": True})


@operation(KEY, prepare=_keys, claims=nothing)
async def kv_set_nested(world: World, _: None) -> Any:
    await world.do(world.session.kv).__setitem__("a/b/d", 2)


@operation(KEY, claims=nothing)
async def kv_set_nested_in_new_key(world: World, _: None) -> Any:
    await world.do(world.session.kv).__setitem__("a/b/d", 2)


@operation(
    KEY,
    prepare=_keys,
    appends=True,
    excused={
        "deleted": "below a key that is missing, kv.set() makes objects, never lists: `-` is a name"
    },
)
async def kv_append(world: World, _: None) -> Any:
    await world.do(world.session.kv).__setitem__("a/list/-", 3)


@operation(KEY, prepare=_keys, overwrites=True)
async def kv_delete_root(world: World, _: None) -> Any:
    await world.do(world.session.kv).__delitem__("a")


@operation(KEY, prepare=_keys, overwrites=True, claims=nothing)
async def kv_delete_missing_ok(world: World, _: None) -> Any:
    await world.do(world.session.kv).delete("a", missing_ok=True)


@operation(KEY, prepare=_keys)
async def kv_delete_nested(world: World, _: None) -> Any:
    await world.do(world.session.kv).__delitem__("a/b/c")


@operation(KEY, prepare=_keys, appends=True)
async def kv_delete_item(world: World, _: None) -> Any:
    await world.do(world.session.kv).__delitem__("a/list/0")


@operation(KEY, prepare=_keys, takes=True)
async def kv_pop_root(world: World, _: None) -> Any:
    return await world.do(world.session.kv).pop("a")


@operation(KEY, prepare=_keys, takes=True, claims=lambda result: result != "DEFAULT")
async def kv_pop_default(world: World, _: None) -> Any:
    return await world.do(world.session.kv).pop("a", "DEFAULT")


@operation(KEY, prepare=_keys, appends=True)
async def kv_pop_item(world: World, _: None) -> Any:
    return await world.do(world.session.kv).pop("a/list/0")


@operation(KEY, claims=nothing)
async def kv_setdefault_missing(world: World, _: None) -> Any:
    return await world.do(world.session.kv).setdefault("a", {"b": 1})


@operation(KEY, prepare=_keys, claims=nothing)
async def kv_setdefault_there(world: World, _: None) -> Any:
    return await world.do(world.session.kv).setdefault("a/b", "mine")


@operation(prepare=_keys)
async def kv_get_many(world: World, _: None) -> Any:
    return dict(await world.do(world.session.kv).get_many(["a", "z", "none"]))


@operation(prepare=_keys)
async def kv_list(world: World, _: None) -> Any:
    return sorted([key async for key in world.do(world.session.kv)])


@operation(prepare=_keys)
async def kv_items(world: World, _: None) -> Any:
    return {key: value async for key, value in world.do(world.session.kv).items()}


@operation(prepare=_keys)
async def kv_len(world: World, _: None) -> Any:
    return await world.do(world.session.kv).__len__()


@operation(KEY, prepare=_keys, overwrites=True, claims=nothing)
async def kv_clear(world: World, _: None) -> Any:
    await world.do(world.session.kv).clear()


# Templates


async def _template(world: World) -> Template:
    world.template("base", "<{% block x %}{% endblock %}>")
    world.template("page", '{% extends "base" %}{% block x %}{{ a.b.c }}{% endblock %}')
    _keys(world)
    return await world.do(Template).get("page", session=world.session)


@operation(TEMPLATE, prepare=lambda world: Template(name="page", source="{{ a }}"))
async def template_save_new(world: World, template: Template) -> Any:
    return seen(await world.do(template).save(session=world.session))


@operation(TEMPLATE, prepare=_template)
async def template_save_changed(world: World, template: Template) -> Any:
    template.source = "changed"
    return seen(await world.do(template).save())


@operation(prepare=_template)
async def template_get(world: World, _: Template) -> Any:
    return seen(await world.do(Template).get("page", session=world.session))


@operation(prepare=_template)
async def template_get_or_none(world: World, _: Template) -> Any:
    return seen(await world.do(Template).get_or_none("page", session=world.session))


@operation(prepare=_template)
async def template_get_or_create_there(world: World, _: Template) -> Any:
    return seen(await world.do(Template).get_or_create("page", source="m", session=world.session))


@operation(TEMPLATE, claims=lambda result: bool(result[1]))
async def template_get_or_create_missing(world: World, _: None) -> Any:
    return seen(await world.do(Template).get_or_create("page", source="m", session=world.session))


@operation(prepare=_template)
async def template_find(world: World, _: Template) -> Any:
    return [each.name async for each in world.do(Template.find(session=world.session))]


@operation(prepare=_template)
async def template_count(world: World, _: Template) -> Any:
    return await world.do(Template.find(session=world.session)).count()


@operation(prepare=_template)
async def template_render(world: World, template: Template) -> Any:
    return await world.do(template).render()


@operation(prepare=_template)
async def template_render_lenient(world: World, template: Template) -> Any:
    return await world.do(template).render(undefined="lenient")


def _template_of_json(world: World) -> Any:
    world.template("page", '{"c": {{ a.b.c }}, "more": {{ more }}}')
    _keys(world)
    return world.do(Template).get("page", session=world.session)


@operation(prepare=_template_of_json)
async def template_render_json(world: World, template: Template) -> Any:
    return await world.do(template).render_json(more=2)


async def _outdated_template(world: World) -> Template:
    template = await _template(world)
    world.template("page", "theirs")
    return template


@operation(prepare=_outdated_template)
async def template_refresh(world: World, template: Template) -> Any:
    return seen(await world.do(template).refresh())


@operation(prepare=_template)
async def template_variables(world: World, template: Template) -> Any:
    return seen(await world.do(template).variables())


@operation(TEMPLATE, prepare=_template)
async def template_delete(world: World, template: Template) -> Any:
    return seen(await world.do(template).delete())


# Buckets, collections, groups, and what belongs to the server


@operation("collections/fresh", prepare=lambda world: Collection(id="fresh", bucket=world.bucket))
async def collection_save(world: World, collection: Collection) -> Any:
    return seen(await world.do(collection).save(session=world.session))


@operation(
    "groups/writers",
    prepare=lambda world: Group(id="writers", members=["basicauth:b"], bucket=world.bucket),
)
async def group_save(world: World, group: Group) -> Any:
    return seen(await world.do(group).save(session=world.session))


async def _group(world: World) -> Group:
    world.put("groups/writers", {"members": ["basicauth:b"]})
    bucket = await world.do(Bucket(id=world.bucket)).refresh(session=world.session)
    found = await world.do(bucket.groups).get("writers")
    found.members.append("basicauth:c")
    return found


@operation("groups/writers", prepare=_group)
async def group_save_changed(world: World, group: Group) -> Any:
    return seen(await world.do(group).save())


@operation()
async def bucket_get(world: World, _: None) -> Any:
    return seen(await world.do(Bucket).get(world.bucket, session=world.session))


@operation()
async def sync_schema(world: World, _: None) -> Any:
    return [each.applied for each in await world.do(world.session).sync_schema(Todo)]


@operation()
async def server_info(world: World, _: None) -> Any:
    info = await world.do(world.session).server_info()
    return [sorted(info.capabilities), seen((info.user or {}).get("bucket"))]


@operation()
async def account(world: World, _: None) -> Any:
    found = await world.do(world.session).account()
    return [found.id, found.bucket]


async def _with_past(world: World) -> Todo:
    todo = await world.todo(note="first")
    todo.note = "second"
    return await world.do(todo).save()


async def _first_time(world: World, todo: Todo) -> int:
    past = [each.target async for each in world.do(await world.do(todo).history())]
    target: Any = past[-1]
    return int(target["data"]["last_modified"])


@operation(prepare=_with_past)
async def history(world: World, todo: Todo) -> Any:
    return [each.action async for each in world.do(await world.do(todo).history())]


@operation(prepare=_with_past)
async def history_at(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).at(await _first_time(world, todo)))


@operation(ONE, prepare=_with_past)
async def revert(world: World, todo: Todo) -> Any:
    return seen(await world.do(todo).revert(await _first_time(world, todo)))


# A user of its own: what others made in this Kinto would be listed, too.
@operation(prepare=only_stored, personal=True)
async def session_permissions(world: World, _: None) -> Any:
    return sorted(
        [
            f"{each.uri} {sorted(each.permissions)}"
            async for each in world.do(world.session).permissions()
            if f"/{world.bucket}" in each.uri
        ]
    )
