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
def kv_get(world: World, _: None) -> Any:
    return world.session.kv["a/b"]


@operation(prepare=_keys)
def kv_get_default(world: World, _: None) -> Any:
    return world.session.kv.get("a/b", "DEFAULT")


@operation(prepare=_keys)
def kv_contains(world: World, _: None) -> Any:
    return "a" in world.session.kv


@operation(
    prepare=_keys,
    personal=True,
    excused={"forbidden_403": "that is how Kinto says of a personal bucket that it was never used"},
)
def kv_get_personal(world: World, _: None) -> Any:
    return world.session.kv.get("a/b", "DEFAULT")


@operation(KEY, overwrites=True)
def kv_set_first_key(world: World, _: None) -> Any:
    world.session.kv["a"] = {"b": 1}


@operation(KEY, prepare=_keys, overwrites=True)
def kv_set_root(world: World, _: None) -> Any:
    world.session.kv["a"] = {"new": True}


@operation(KEY, prepare=_keys, overwrites=True, personal=True)
def kv_set_root_personal(world: World, _: None) -> Any:
    world.session.kv["a"] = {"new": True}


@operation(KEY, prepare=_keys, claims=nothing)
def kv_set_nested(world: World, _: None) -> Any:
    world.session.kv["a/b/d"] = 2


@operation(KEY, claims=nothing)
def kv_set_nested_in_new_key(world: World, _: None) -> Any:
    world.session.kv["a/b/d"] = 2


@operation(
    KEY,
    prepare=_keys,
    appends=True,
    excused={
        "deleted": "below a key that is missing, kv.set() makes objects, never lists: `-` is a name"
    },
)
def kv_append(world: World, _: None) -> Any:
    world.session.kv["a/list/-"] = 3


@operation(KEY, prepare=_keys, overwrites=True)
def kv_delete_root(world: World, _: None) -> Any:
    del world.session.kv["a"]


@operation(KEY, prepare=_keys, overwrites=True, claims=nothing)
def kv_delete_missing_ok(world: World, _: None) -> Any:
    world.session.kv.delete("a", missing_ok=True)


@operation(KEY, prepare=_keys)
def kv_delete_nested(world: World, _: None) -> Any:
    del world.session.kv["a/b/c"]


@operation(KEY, prepare=_keys, appends=True)
def kv_delete_item(world: World, _: None) -> Any:
    del world.session.kv["a/list/0"]


@operation(KEY, prepare=_keys, takes=True)
def kv_pop_root(world: World, _: None) -> Any:
    return world.session.kv.pop("a")


@operation(KEY, prepare=_keys, takes=True, claims=lambda result: result != "DEFAULT")
def kv_pop_default(world: World, _: None) -> Any:
    return world.session.kv.pop("a", "DEFAULT")


@operation(KEY, prepare=_keys, appends=True)
def kv_pop_item(world: World, _: None) -> Any:
    return world.session.kv.pop("a/list/0")


@operation(KEY, claims=nothing)
def kv_setdefault_missing(world: World, _: None) -> Any:
    return world.session.kv.setdefault("a", {"b": 1})


@operation(KEY, prepare=_keys, claims=nothing)
def kv_setdefault_there(world: World, _: None) -> Any:
    return world.session.kv.setdefault("a/b", "mine")


@operation(prepare=_keys)
def kv_get_many(world: World, _: None) -> Any:
    return dict(world.session.kv.get_many(["a", "z", "none"]))


@operation(prepare=_keys)
def kv_list(world: World, _: None) -> Any:
    return sorted(world.session.kv)


@operation(prepare=_keys)
def kv_items(world: World, _: None) -> Any:
    return dict(world.session.kv.items())


@operation(prepare=_keys)
def kv_len(world: World, _: None) -> Any:
    return len(world.session.kv)


@operation(KEY, prepare=_keys, overwrites=True, claims=nothing)
def kv_clear(world: World, _: None) -> Any:
    world.session.kv.clear()


# Templates


def _template(world: World) -> Template:
    world.template("base", "<{% block x %}{% endblock %}>")
    world.template("page", '{% extends "base" %}{% block x %}{{ a.b.c }}{% endblock %}')
    _keys(world)
    return Template.get("page", session=world.session)


@operation(TEMPLATE, prepare=lambda world: Template(name="page", source="{{ a }}"))
def template_save_new(world: World, template: Template) -> Any:
    return seen(template.save(session=world.session))


@operation(TEMPLATE, prepare=_template)
def template_save_changed(world: World, template: Template) -> Any:
    template.source = "changed"
    return seen(template.save())


@operation(prepare=_template)
def template_get(world: World, _: Template) -> Any:
    return seen(Template.get("page", session=world.session))


@operation(prepare=_template)
def template_get_or_none(world: World, _: Template) -> Any:
    return seen(Template.get_or_none("page", session=world.session))


@operation(prepare=_template)
def template_find(world: World, _: Template) -> Any:
    return [each.name for each in Template.find(session=world.session)]


@operation(prepare=_template)
def template_count(world: World, _: Template) -> Any:
    return Template.find(session=world.session).count()


@operation(prepare=_template)
def template_render(world: World, template: Template) -> Any:
    return template.render()


@operation(prepare=_template)
def template_render_lenient(world: World, template: Template) -> Any:
    return template.render(undefined="lenient")


@operation(prepare=_template)
def template_variables(world: World, template: Template) -> Any:
    return seen(template.variables())


@operation(TEMPLATE, prepare=_template)
def template_delete(world: World, template: Template) -> Any:
    return seen(template.delete())


# Buckets, collections, groups, and what belongs to the server


@operation("collections/fresh", prepare=lambda world: Collection(id="fresh", bucket=world.bucket))
def collection_save(world: World, collection: Collection) -> Any:
    return seen(collection.save(session=world.session))


@operation(
    "groups/writers",
    prepare=lambda world: Group(id="writers", members=["basicauth:b"], bucket=world.bucket),
)
def group_save(world: World, group: Group) -> Any:
    return seen(group.save(session=world.session))


def _group(world: World) -> Group:
    world.put("groups/writers", {"members": ["basicauth:b"]})
    found = Bucket(id=world.bucket).refresh(session=world.session).groups.get("writers")
    found.members.append("basicauth:c")
    return found


@operation("groups/writers", prepare=_group)
def group_save_changed(world: World, group: Group) -> Any:
    return seen(group.save())


@operation()
def bucket_get(world: World, _: None) -> Any:
    return seen(Bucket.get(world.bucket, session=world.session))


@operation()
def sync_schema(world: World, _: None) -> Any:
    return [each.applied for each in world.session.sync_schema(Todo)]


@operation()
def server_info(world: World, _: None) -> Any:
    info = world.session.server_info()
    return [sorted(info.capabilities), seen((info.user or {}).get("bucket"))]


@operation()
def account(world: World, _: None) -> Any:
    found = world.session.account()
    return [found.id, found.bucket]


def _with_past(world: World) -> Todo:
    todo = world.todo(note="first")
    todo.note = "second"
    return todo.save()


def _first_time(todo: Todo) -> int:
    target: Any = list(todo.history())[-1].target
    return int(target["data"]["last_modified"])


@operation(prepare=_with_past)
def history(world: World, todo: Todo) -> Any:
    return [each.action for each in todo.history()]


@operation(prepare=_with_past)
def history_at(world: World, todo: Todo) -> Any:
    return seen(todo.at(_first_time(todo)))


@operation(ONE, prepare=_with_past)
def revert(world: World, todo: Todo) -> Any:
    return seen(todo.revert(_first_time(todo)))


# A user of its own: what others made in this Kinto would be listed, too.
@operation(prepare=only_stored, personal=True)
def session_permissions(world: World, _: None) -> Any:
    return sorted(
        f"{each.uri} {sorted(each.permissions)}"
        for each in world.session.permissions()
        if f"/{world.bucket}" in each.uri
    )
