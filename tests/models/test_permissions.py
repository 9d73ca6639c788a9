"""Permissions: three states, differences only, and names checked before anything is sent."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from both import AnySession, Place, do, either, either_wire, entered
from conftest import Wire
from kinto_orm import (
    Authenticated,
    Bucket,
    Collection,
    ConfigurationError,
    Conflict,
    Everyone,
    Forbidden,
    Group,
    InvalidData,
    NotFound,
    NotLoaded,
    Permissions,
    Record,
)

# On both sessions.
session = either
wire = either_wire

BOB, EVE, ZOE = "account:bob", "account:eve", "account:zoe"


class Todo(Record, collection="todos"):
    title: str = ""


@pytest.fixture
async def todo(wire: Wire) -> Todo:
    """A saved record; what was sent for it is forgotten."""
    saved = await do(Todo(id="x", title="a").save)
    wire.clear()
    return saved


@pytest.fixture
async def listed(todo: Todo, wire: Wire) -> Todo:
    """The same from a list, which carries no permissions."""
    [found] = await do(Todo.find())
    wire.clear()
    return found


async def stored() -> Permissions:
    """What the server has."""
    return (await do(Todo.get, "x")).permissions


# At creation


@pytest.mark.parametrize(
    "given",
    [
        {"read": [Everyone], "write": {BOB}},
        {"read": {Everyone}, "write": [BOB]},
        Permissions(read={Everyone}, write={BOB}),
    ],
)
async def test_permissions_go_with_a_creation(wire: Wire, given: Any) -> None:
    """A dict or a Permissions at creation goes in the one request that creates."""
    todo = await do(Todo(title="a", permissions=given).save)
    assert wire.methods == ["PUT"]
    assert wire.body["permissions"] == {"read": [Everyone], "write": [BOB]}
    assert todo.permissions.read == {Everyone}
    assert BOB in todo.permissions.write


async def test_permissions_of_the_server_by_its_names(wire: Wire) -> None:
    """A permission goes by the server's name or by the attribute's, as a dict and as a grant."""
    collection = await do(Collection(id="c", permissions={"record:create": [BOB]}).save)
    assert wire.body["permissions"] == {"record:create": [BOB]}
    assert collection.permissions.record_create == {BOB}
    await do(collection.permissions.grant("record_create", EVE).grant("record:create", ZOE).save)
    assert (await do(Collection.get, "c")).permissions.record_create == {BOB, EVE, ZOE}


@pytest.mark.parametrize("kind", ["records", "collections", "groups"])
async def test_permissions_of_new_children(wire: Wire, kind: str) -> None:
    """What is made through its parent takes permissions in the same way."""
    bucket = await do(Bucket.get, wire.session.bucket)
    parents = {
        "records": Collection(id="todos").records,
        "collections": bucket.collections,
        "groups": bucket.groups,
    }
    child = await do(parents[kind].new(id="child", permissions={"read": [BOB]}).save)
    assert child.permissions.read == {BOB}


async def test_new_object_has_empty_permissions_that_can_be_granted(wire: Wire) -> None:
    """Before the first save they are known: nobody has any."""
    todo = Todo(id="x")
    assert todo.permissions.read == set()
    todo.permissions.grant("read", Everyone)
    todo.permissions.write.add(BOB)
    await do(todo.save)
    assert (await stored()).read == {Everyone}
    assert BOB in (await stored()).write


async def test_permissions_of_an_unsaved_object_go_with_it(wire: Wire) -> None:
    """They cannot be saved alone before the object is there."""
    todo = Todo(id="x")
    todo.permissions.grant("read", Everyone)
    with pytest.raises(ConfigurationError, match="save the object itself first"):
        await do(todo.permissions.save)
    assert wire.methods == []


async def test_assignment_before_and_after_the_first_save(wire: Wire) -> None:
    """Assigning a dict replaces all that it means to be there."""
    todo = Todo(id="x")
    todo.permissions = {"read": [BOB]}
    await do(todo.save)
    assert (await stored()).read == {BOB}
    todo.permissions = {"read": [EVE], "write": (await stored()).write}
    await do(todo.save)
    assert (await stored()).read == {EVE}


# Differences


async def test_grant_sends_the_difference_only(todo: Todo, wire: Wire) -> None:
    """One JSON-Patch adds the principal and says nothing of the others."""
    await do(todo.permissions.grant("read", Everyone, "/buckets/b/groups/g~1").save)
    assert wire.methods == ["PATCH"]
    assert wire.last.headers["Content-Type"] == "application/json-patch+json"
    assert "If-Match" not in wire.last.headers
    assert wire.body == [
        {"op": "add", "path": "/permissions/read/~1buckets~1b~1groups~1g~01", "value": {}},
        {"op": "add", "path": "/permissions/read/system.Everyone", "value": {}},
    ]
    assert (await stored()).read == {Everyone, "/buckets/b/groups/g~1"}
    assert todo.permissions.read == (await stored()).read


EVERY_NAME = [
    *[(Bucket, name) for name in ("read", "write", "collection:create", "group:create")],
    *[(Collection, name) for name in ("read", "write", "record:create")],
    *[(Group, name) for name in ("read", "write")],
]


@pytest.mark.parametrize(("kind", "name"), EVERY_NAME)
async def test_every_permission_can_be_granted_and_revoked(
    wire: Wire, place: Place, kind: Any, name: str
) -> None:
    """The first principal of a list that the server did not have yet, and the last one."""
    thing = await do(kind(id=place.new_id()).save)
    await do(thing.permissions.grant(name, BOB).save)
    attribute = name.replace(":", "_")
    assert BOB in getattr((await do(kind.get, thing.id)).permissions, attribute)
    await do(thing.permissions.grant(name, EVE).save)
    await do(thing.permissions.revoke(name, BOB, EVE).save)
    assert not {BOB, EVE} & getattr((await do(kind.get, thing.id)).permissions, attribute)
    thing.permissions.grant(name, BOB)
    thing.colour = "red"
    await do(thing.save)
    assert BOB in getattr((await do(kind.get, thing.id)).permissions, attribute)


async def test_nothing_changed_nothing_sent(todo: Todo, wire: Wire) -> None:
    """Granting what is there, or taking what is not, is no change."""
    await do(todo.permissions.grant("read", Everyone).save)
    wire.clear()
    await do(todo.permissions.grant("read", Everyone).revoke("read", BOB).save)
    await do(todo.save)
    assert wire.methods == []
    assert not todo.permissions.is_changed


async def test_revoke_takes_single_principals_away(todo: Todo, wire: Wire) -> None:
    """The others keep what they have."""
    await do(todo.permissions.grant("read", BOB, EVE).save)
    await do(todo.permissions.revoke("read", BOB).save)
    assert wire.body == [{"op": "remove", "path": "/permissions/read/account:bob"}]
    assert (await stored()).read == {EVE}


async def test_sets_can_be_edited_in_place(todo: Todo) -> None:
    """The sets are plain sets; saving finds the difference."""
    todo.permissions.read.update({BOB, EVE})
    await do(todo.permissions.save)
    todo.permissions.read.discard(BOB)
    await do(todo.permissions.save)
    assert (await stored()).read == {EVE}
    todo.permissions.read = {ZOE}
    await do(todo.permissions.save)
    assert (await stored()).read == {ZOE}


async def test_two_administrators_do_not_undo_each_other(todo: Todo) -> None:
    """Each sends what it changed; the sum of both is stored."""
    await do(todo.permissions.grant("read", BOB, EVE).save)
    one, two = await do(Todo.get, "x"), await do(Todo.get, "x")
    one.permissions.grant("read", ZOE).revoke("read", BOB)
    two.permissions.grant("read", Everyone)
    await do(one.permissions.save)
    await do(two.permissions.save)
    assert (await stored()).read == {EVE, ZOE, Everyone}
    assert two.permissions.read == {EVE, ZOE, Everyone}


async def test_two_administrators_take_the_same_principal_away(todo: Todo) -> None:
    """The server refuses to remove twice; what the second one meant is done all the same."""
    await do(todo.permissions.grant("read", BOB, EVE).save)
    one, two = await do(Todo.get, "x"), await do(Todo.get, "x")
    await do(one.permissions.revoke("read", BOB).save)
    await do(two.permissions.revoke("read", BOB).revoke("read", EVE).grant("read", ZOE).save)
    assert (await stored()).read == {ZOE} == two.permissions.read


async def test_save_of_the_object_sends_its_permissions_too(todo: Todo, wire: Wire) -> None:
    """One request carries both, so that both are stored or none is."""
    todo.title = "b"
    todo.permissions.grant("read", BOB)
    await do(todo.save)
    assert wire.methods == ["PATCH"]
    assert wire.last.headers["If-Match"]
    assert [operation["path"] for operation in wire.body] == [
        "/data/title",
        "/permissions/read/account:bob",
    ]
    assert (await do(Todo.get, "x")).title == "b"
    assert (await stored()).read == {BOB} == todo.permissions.read


async def test_saved_permissions_do_not_hide_another_writers_change(todo: Todo) -> None:
    """After a save of the permissions only, a change of the data since is still a Conflict."""
    theirs = await do(Todo.get, "x")
    theirs.title = "theirs"
    await do(theirs.save)
    await do(todo.permissions.grant("read", BOB).save)
    todo.title = "mine"
    with pytest.raises(Conflict):
        await do(todo.save)


async def test_saved_permissions_do_not_conflict_with_oneself(todo: Todo) -> None:
    """Saving permissions moves the object's version along."""
    await do(todo.permissions.grant("read", BOB).save)
    todo.title = "b"
    await do(todo.save)
    assert (await do(Todo.get, "x")).title == "b"


async def test_forced_save_keeps_the_principals_of_others(listed: Todo) -> None:
    """A grant on permissions that were not loaded clears nobody else's, forced or not."""
    await do((await do(Todo.get, "x")).permissions.grant("read", BOB).save)
    listed.permissions.grant("read", EVE)
    await do(listed.save, force=True)
    assert (await stored()).read >= {BOB}
    assert (await do(listed.permissions.refresh)).read == (await stored()).read


# Not loaded


@pytest.mark.parametrize("name", ["read", "write", "record_create"])
def test_reading_what_was_not_loaded_is_an_error(listed: Todo, wire: Wire, name: str) -> None:
    """Not loaded is a state, not an empty set; the error says to refresh, and nothing is sent."""
    with pytest.raises(NotLoaded, match="refresh") as raised:
        getattr(listed.permissions, name)
    assert "'x'" in str(raised.value)
    assert not listed.permissions.is_loaded
    assert "not loaded" in repr(listed.permissions)
    assert wire.methods == []


async def test_refresh_loads_them(listed: Todo, wire: Wire) -> None:
    """One GET."""
    assert await do(listed.permissions.refresh) is listed.permissions
    assert wire.methods == ["GET"]
    assert listed.permissions.read == set()
    assert listed.permissions.is_loaded


async def test_refresh_of_the_object_loads_them(listed: Todo) -> None:
    """The object's own refresh brings them as well."""
    await do(listed.refresh)
    assert listed.permissions.read == set()


async def test_grants_need_no_loading_by_hand(listed: Todo, wire: Wire) -> None:
    """What the server has is fetched first; only the difference is sent."""
    await do((await do(Todo.get, "x")).permissions.grant("read", BOB).save)
    wire.clear()
    await do(listed.permissions.grant("read", EVE).save)
    assert wire.methods == ["GET", "PATCH"]
    assert listed.permissions.read == {BOB, EVE}


async def test_a_grant_of_what_is_granted_sends_no_write(listed: Todo, wire: Wire) -> None:
    """Else it would give the object a new timestamp, and others a conflict for nothing."""
    await do((await do(Todo.get, "x")).permissions.grant("read", BOB).save)
    before = await do(Todo.get, "x")
    wire.clear()
    await do(listed.permissions.grant("read", BOB).save)
    assert wire.methods == ["GET"]
    assert not listed.permissions.is_changed
    await do(before.save, force=True)
    wire.clear()
    await do(before.permissions.grant("read", BOB).save)
    assert wire.methods == []


def test_reading_and_assigning_attributes_never_sends(listed: Todo, wire: Wire) -> None:
    """Attribute access reads no network: assigning to what is not loaded does not either."""
    with contextlib.suppress(NotLoaded):
        listed.permissions.read = {BOB}
    assert wire.methods == []


async def test_revoke_fetches_what_it_must_know(listed: Todo, wire: Wire) -> None:
    """Taking away needs the sets; the two requests are GET and PATCH."""
    await do((await do(Todo.get, "x")).permissions.grant("read", BOB, ZOE).save)
    wire.clear()
    await do(listed.permissions.revoke("read", BOB).save)
    assert wire.methods == ["GET", "PATCH"]
    assert (await stored()).read == {ZOE}


async def test_revoke_keeps_earlier_grants(listed: Todo) -> None:
    """A grant that was made before the sets were fetched is still to be saved."""
    await do((await do(Todo.get, "x")).permissions.grant("read", BOB).save)
    await do(listed.permissions.grant("read", EVE).revoke("read", BOB).save)
    assert (await stored()).read == {EVE}


async def test_those_who_may_only_read_see_none(todo: Todo, place: Place, wire: Wire) -> None:
    """The server shows permissions to writers only; to others they are not loaded, not empty."""
    await do(todo.permissions.grant("read", Everyone).save)
    async with entered(place.session(auth="bob:pw", bucket=wire.session.bucket)):
        seen = await do(Todo.get, "x")
        with pytest.raises(NotLoaded, match="may write"):
            seen.permissions.read


async def test_refresh_drops_unsaved_changes(todo: Todo) -> None:
    """Refreshing takes the server's state, permissions included."""
    todo.permissions.grant("read", BOB)
    await do(todo.permissions.refresh)
    assert not todo.permissions.is_changed
    todo.permissions.grant("read", BOB)
    await do(todo.refresh)
    assert not todo.permissions.is_changed


async def test_refresh_can_keep_unsaved_changes(todo: Todo) -> None:
    """keep_changes=True keeps grants as it keeps fields."""
    theirs = await do(Todo.get, "x")
    theirs.title = "b"
    await do(theirs.save)
    todo.permissions.grant("read", BOB)
    await do(todo.refresh, keep_changes=True)
    await do(todo.save)
    assert (todo.title, (await stored()).read) == ("b", {BOB})


# Names


NAMES = [
    (Record, "record:create"),
    (Record, "collection:create"),
    (Group, "record_create"),
    (Collection, "group:create"),
    (Collection, "collection:create"),
    (Bucket, "record:create"),
    (Bucket, "raed"),
]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_names_are_checked_by_kind(kind: Any, name: str) -> None:
    """A permission that this kind of object does not have is refused, with those it has."""
    with pytest.raises(InvalidData, match=r"it has .*read.* write"):
        kind(id="x").permissions.grant(name, Everyone)
    with pytest.raises(InvalidData, match="it has"):
        kind(id="x").permissions.revoke(name, Everyone)


@pytest.mark.parametrize(
    "given",
    [
        {"record:create": [Everyone]},
        {"raed": [Everyone]},
        {"read": Everyone},
        {"read": [1]},
        Permissions(record_create={Everyone}),
    ],
)
def test_wrong_permissions_are_refused_at_creation(given: Any) -> None:
    """A wrong name, or a bare text for a list of principals, is an error where it is written."""
    with pytest.raises(ValueError, match=r"record:create|raed|read"):
        Todo(title="a", permissions=given)


@pytest.mark.parametrize("principal", [1, "", None, ["account:bob"]])
def test_principals_are_texts(principal: Any) -> None:
    """What is no principal is refused; the server would not check it."""
    with pytest.raises((InvalidData, TypeError)):
        Todo().permissions.grant("read", principal)


def test_misspelt_attribute_is_refused() -> None:
    """As on models."""
    with pytest.raises(ValueError, match="raed"):
        Todo().permissions.raed = {Everyone}  # type: ignore[attr-defined]


async def test_permissions_of_no_object_cannot_be_saved(session: AnySession) -> None:
    """They are given to an object first."""
    with pytest.raises(ConfigurationError, match="no object"):
        await do(Permissions(read={Everyone}).save)


# Deleting, groups, and what happens to the object


async def test_delete_clears_what_can_be_cleared(todo: Todo, wire: Wire) -> None:
    """All lists are emptied; the server keeps the one who asks in `write`."""
    me = set(todo.permissions.write)
    await do(todo.permissions.grant("read", Everyone).grant("write", BOB).save)
    await do(todo.permissions.delete)
    assert wire.methods[-1] == "PATCH"
    assert (await stored()).read == set()
    assert (await stored()).write == me == todo.permissions.write


@pytest.mark.parametrize("kind", [Bucket, Collection, Group])
async def test_delete_on_each_kind(wire: Wire, place: Place, kind: Any) -> None:
    """Each kind has the names of its own cleared."""
    thing = await do(kind(id=place.new_id(), permissions={"read": [BOB]}).save)
    await do(thing.permissions.delete)
    assert (await do(kind.get, thing.id)).permissions.read == set()


async def test_group_principal_grants_to_its_members(wire: Wire, place: Place) -> None:
    """Whoever is a member may, from the next request on."""
    async with entered(place.session(auth="bob:pw", bucket=wire.session.bucket)) as theirs:
        bob = str((await do(theirs.server_info)).user["id"])  # type: ignore[index]
        writers = await do(Group(id="writers", members=[bob]).save, session=wire.session)
        assert writers.principal == f"/buckets/{wire.session.bucket}/groups/writers"
        todo = await do(
            Todo(id="x", permissions={"write": [writers.principal]}).save, session=wire.session
        )
        seen = await do(Todo.get, "x")
        seen.title = "by bob"
        await do(seen.save)
    assert (await do(todo.refresh)).title == "by bob"


async def test_permissions_of_what_is_gone(todo: Todo) -> None:
    """There is nothing to set them on: NotFound."""
    await do((await do(Todo.get, "x")).delete)
    with pytest.raises(NotFound, match="permissions of Todo 'x'"):
        await do(todo.permissions.grant("read", BOB).save)


def test_permissions_in_the_data_are_refused() -> None:
    """Kinto reads `__permissions__` in the data as permissions; they have a place of their own."""
    with pytest.raises(InvalidData, match="permissions="):
        Record(__permissions__={"read": [Everyone]})


def test_equality_and_repr() -> None:
    """Permissions compare by what they hold, and show it."""
    one = Permissions(read={BOB}, record_create={Everyone})
    assert one == Permissions(read={BOB}, record_create={Everyone})
    assert one != Permissions(read={BOB})
    assert one != {"read": {BOB}}
    assert repr(one) == ("Permissions(read=['account:bob'], record:create=['system.Everyone'])")
    assert Authenticated not in str(one)


async def test_a_field_named_like_the_permissions_of_the_server(session: AnySession) -> None:
    """Data that has a field `permissions` is data; the property stays the permissions."""
    record = Collection(id="todos").records.new(id="x")
    record["permissions"] = "a text"
    await do(record.save)
    again = await do(Collection(id="todos").records.get, "x")
    assert again["permissions"] == "a text"
    assert again.permissions.read == set()


@pytest.mark.parametrize(
    "act",
    [
        lambda todo: do(todo.save),
        lambda todo: do(todo.delete),
        lambda todo: do(todo.permissions.grant("read", Everyone).save),
    ],
    ids=["save", "delete", "grant"],
)
async def test_a_reader_is_told_what_is_missing(
    session: AnySession, place: Place, act: Any
) -> None:
    """No bucket is to be made: what was read there shows that it exists."""
    await do(Todo(id="x", title="a", permissions={"read": [Authenticated]}).save)
    async with entered(place.session(auth="bob:pw", bucket=session.bucket)):
        todo = await do(Todo.get, "x")
        todo.title = "b"
        with pytest.raises(Forbidden, match="lack the permission 'write' on it") as raised:
            await act(todo)
        assert "first" not in str(raised.value)
        with pytest.raises(Forbidden, match="does not exist, or you may not use it"):
            await do(Todo(title="new").save)


async def test_a_refresh_loads_what_was_never_asked_for(session: AnySession) -> None:
    """Also when nothing changed since the object was loaded from a list, or merged."""
    await do(Todo(id="x", title="x", permissions={"read": {Everyone}}).save)
    listed = await do(Todo.find().one)
    with pytest.raises(NotLoaded):
        listed.permissions.read
    assert (await do(listed.refresh)).permissions.read == {Everyone}

    mine = await do(Todo.get, "x")
    theirs = await do(Todo.get, "x")
    theirs.title = "theirs"
    await do(theirs.save)
    mine.permissions.read
    mine.title = "mine"
    with pytest.raises(Conflict) as refused:
        await do(mine.save)
    merged = refused.value.merge(prefer="local")
    assert (await do(merged.refresh, keep_changes=True)).permissions.read == {Everyone}


@pytest.mark.parametrize("verb", ["grant", "revoke"])
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([BOB], r"not as a list: write \*principals"),
        ({BOB}, r"not as a set: write \*principals"),
        ((BOB, EVE), r"not as a tuple: write \*principals"),
        ({BOB: 1}, r"not as a dict: write \*principals"),
        (Group(id="g"), r"is a text such as 'account:alice' \(\.principal of a group"),
        (None, "is a text"),
        (5, "is a text"),
        (b"bob", "is a text"),
        ("", "is a text"),
    ],
    ids=repr,
)
def test_principals_are_texts_one_by_one(verb: str, given: Any, complaint: str) -> None:
    """Everything else is refused with what to write, and changes nothing."""
    todo = Todo(title="a")
    with pytest.raises(InvalidData, match=complaint):
        getattr(todo.permissions, verb)("read", BOB, given)
    assert todo.permissions.wanted() == {}


@pytest.mark.parametrize("verb", ["grant", "revoke"])
@pytest.mark.parametrize("name", [["read"], {"read"}, None, 5, Group(id="g")], ids=repr)
def test_a_permission_is_named_by_a_text(verb: str, name: Any) -> None:
    """Whatever else is given is refused by name."""
    with pytest.raises(InvalidData, match="a permission has a name such as 'read'"):
        getattr(Todo(title="a").permissions, verb)(name, BOB)
