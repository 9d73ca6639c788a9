"""Permissions: three states, differences only, and names checked before anything is sent."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from conftest import Backend, Wire
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
    Session,
)

BOB, EVE, ZOE = "account:bob", "account:eve", "account:zoe"


class Todo(Record, collection="todos"):
    title: str = ""


@pytest.fixture
def todo(wire: Wire) -> Todo:
    """A saved record; what was sent for it is forgotten."""
    saved = Todo(id="x", title="a").save()
    wire.clear()
    return saved


@pytest.fixture
def listed(todo: Todo, wire: Wire) -> Todo:
    """The same from a list, which carries no permissions."""
    [found] = Todo.find()
    wire.clear()
    return found


def stored() -> Permissions:
    """What the server has."""
    return Todo.get("x").permissions


# At creation


@pytest.mark.parametrize(
    "given",
    [
        {"read": [Everyone], "write": {BOB}},
        {"read": {Everyone}, "write": [BOB]},
        Permissions(read={Everyone}, write={BOB}),
    ],
)
def test_permissions_go_with_a_creation(wire: Wire, given: Any) -> None:
    """A dict or a Permissions at creation goes in the one request that creates."""
    todo = Todo(title="a", permissions=given).save()
    assert wire.methods == ["PUT"]
    assert wire.body["permissions"] == {"read": [Everyone], "write": [BOB]}
    assert todo.permissions.read == {Everyone}
    assert BOB in todo.permissions.write


def test_permissions_of_the_server_by_its_names(wire: Wire) -> None:
    """A permission goes by the server's name or by the attribute's, as a dict and as a grant."""
    collection = Collection(id="c", permissions={"record:create": [BOB]}).save()
    assert wire.body["permissions"] == {"record:create": [BOB]}
    assert collection.permissions.record_create == {BOB}
    collection.permissions.grant("record_create", EVE).grant("record:create", ZOE).save()
    assert Collection.get("c").permissions.record_create == {BOB, EVE, ZOE}


@pytest.mark.parametrize("kind", ["records", "collections", "groups"])
def test_permissions_of_new_children(wire: Wire, kind: str) -> None:
    """What is made through its parent takes permissions in the same way."""
    bucket = Bucket.get(wire.session.bucket)
    parents = {
        "records": Collection(id="todos").records,
        "collections": bucket.collections,
        "groups": bucket.groups,
    }
    child = parents[kind].new(id="child", permissions={"read": [BOB]}).save()
    assert child.permissions.read == {BOB}


def test_new_object_has_empty_permissions_that_can_be_granted(wire: Wire) -> None:
    """Before the first save they are known: nobody has any."""
    todo = Todo(id="x")
    assert todo.permissions.read == set()
    todo.permissions.grant("read", Everyone)
    todo.permissions.write.add(BOB)
    todo.save()
    assert stored().read == {Everyone}
    assert BOB in stored().write


def test_permissions_of_an_unsaved_object_go_with_it(wire: Wire) -> None:
    """They cannot be saved alone before the object is there."""
    todo = Todo(id="x")
    todo.permissions.grant("read", Everyone)
    with pytest.raises(ConfigurationError, match="save the object itself first"):
        todo.permissions.save()
    assert wire.methods == []


def test_assignment_before_and_after_the_first_save(wire: Wire) -> None:
    """Assigning a dict replaces all that it means to be there."""
    todo = Todo(id="x")
    todo.permissions = {"read": [BOB]}
    todo.save()
    assert stored().read == {BOB}
    todo.permissions = {"read": [EVE], "write": stored().write}
    todo.save()
    assert stored().read == {EVE}


# Differences


def test_grant_sends_the_difference_only(todo: Todo, wire: Wire) -> None:
    """One JSON-Patch adds the principal and says nothing of the others."""
    todo.permissions.grant("read", Everyone, "/buckets/b/groups/g~1").save()
    assert wire.methods == ["PATCH"]
    assert wire.last.headers["Content-Type"] == "application/json-patch+json"
    assert "If-Match" not in wire.last.headers
    assert wire.body == [
        {"op": "add", "path": "/permissions/read/~1buckets~1b~1groups~1g~01", "value": {}},
        {"op": "add", "path": "/permissions/read/system.Everyone", "value": {}},
    ]
    assert stored().read == {Everyone, "/buckets/b/groups/g~1"}
    assert todo.permissions.read == stored().read


EVERY_NAME = [
    *[(Bucket, name) for name in ("read", "write", "collection:create", "group:create")],
    *[(Collection, name) for name in ("read", "write", "record:create")],
    *[(Group, name) for name in ("read", "write")],
]


@pytest.mark.parametrize(("kind", "name"), EVERY_NAME)
def test_every_permission_can_be_granted_and_revoked(
    wire: Wire, backend: Backend, kind: Any, name: str
) -> None:
    """The first principal of a list that the server did not have yet, and the last one."""
    thing = kind(id=backend.new_id()).save()
    thing.permissions.grant(name, BOB).save()
    attribute = name.replace(":", "_")
    assert BOB in getattr(kind.get(thing.id).permissions, attribute)
    thing.permissions.grant(name, EVE).save()
    thing.permissions.revoke(name, BOB, EVE).save()
    assert not {BOB, EVE} & getattr(kind.get(thing.id).permissions, attribute)
    thing.permissions.grant(name, BOB)
    thing.colour = "red"
    thing.save()
    assert BOB in getattr(kind.get(thing.id).permissions, attribute)


def test_nothing_changed_nothing_sent(todo: Todo, wire: Wire) -> None:
    """Granting what is there, or taking what is not, is no change."""
    todo.permissions.grant("read", Everyone).save()
    wire.clear()
    todo.permissions.grant("read", Everyone).revoke("read", BOB).save()
    todo.save()
    assert wire.methods == []
    assert not todo.permissions.is_changed


def test_revoke_takes_single_principals_away(todo: Todo, wire: Wire) -> None:
    """The others keep what they have."""
    todo.permissions.grant("read", BOB, EVE).save()
    todo.permissions.revoke("read", BOB).save()
    assert wire.body == [{"op": "remove", "path": "/permissions/read/account:bob"}]
    assert stored().read == {EVE}


def test_sets_can_be_edited_in_place(todo: Todo) -> None:
    """The sets are plain sets; saving finds the difference."""
    todo.permissions.read.update({BOB, EVE})
    todo.permissions.save()
    todo.permissions.read.discard(BOB)
    todo.permissions.save()
    assert stored().read == {EVE}
    todo.permissions.read = {ZOE}
    todo.permissions.save()
    assert stored().read == {ZOE}


def test_two_administrators_do_not_undo_each_other(todo: Todo) -> None:
    """Each sends what it changed; the sum of both is stored."""
    todo.permissions.grant("read", BOB, EVE).save()
    one, two = Todo.get("x"), Todo.get("x")
    one.permissions.grant("read", ZOE).revoke("read", BOB)
    two.permissions.grant("read", Everyone)
    one.permissions.save()
    two.permissions.save()
    assert stored().read == {EVE, ZOE, Everyone}
    assert two.permissions.read == {EVE, ZOE, Everyone}


def test_two_administrators_take_the_same_principal_away(todo: Todo) -> None:
    """The server refuses to remove twice; what the second one meant is done all the same."""
    todo.permissions.grant("read", BOB, EVE).save()
    one, two = Todo.get("x"), Todo.get("x")
    one.permissions.revoke("read", BOB).save()
    two.permissions.revoke("read", BOB).revoke("read", EVE).grant("read", ZOE).save()
    assert stored().read == {ZOE} == two.permissions.read


def test_save_of_the_object_sends_its_permissions_too(todo: Todo, wire: Wire) -> None:
    """One request carries both, so that both are stored or none is."""
    todo.title = "b"
    todo.permissions.grant("read", BOB)
    todo.save()
    assert wire.methods == ["PATCH"]
    assert wire.last.headers["If-Match"]
    assert [operation["path"] for operation in wire.body] == [
        "/data/title",
        "/permissions/read/account:bob",
    ]
    assert Todo.get("x").title == "b"
    assert stored().read == {BOB} == todo.permissions.read


def test_saved_permissions_do_not_hide_another_writers_change(todo: Todo) -> None:
    """After a save of the permissions only, a change of the data since is still a Conflict."""
    theirs = Todo.get("x")
    theirs.title = "theirs"
    theirs.save()
    todo.permissions.grant("read", BOB).save()
    todo.title = "mine"
    with pytest.raises(Conflict):
        todo.save()


def test_saved_permissions_do_not_conflict_with_oneself(todo: Todo) -> None:
    """Saving permissions moves the object's version along."""
    todo.permissions.grant("read", BOB).save()
    todo.title = "b"
    todo.save()
    assert Todo.get("x").title == "b"


def test_forced_save_keeps_the_principals_of_others(listed: Todo) -> None:
    """A grant on permissions that were not loaded clears nobody else's, forced or not."""
    Todo.get("x").permissions.grant("read", BOB).save()
    listed.permissions.grant("read", EVE)
    listed.save(force=True)
    assert stored().read >= {BOB}
    assert listed.permissions.refresh().read == stored().read


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


def test_refresh_loads_them(listed: Todo, wire: Wire) -> None:
    """One GET."""
    assert listed.permissions.refresh() is listed.permissions
    assert wire.methods == ["GET"]
    assert listed.permissions.read == set()
    assert listed.permissions.is_loaded


def test_refresh_of_the_object_loads_them(listed: Todo) -> None:
    """The object's own refresh brings them as well."""
    listed.refresh()
    assert listed.permissions.read == set()


def test_grants_need_no_loading_by_hand(listed: Todo, wire: Wire) -> None:
    """What the server has is fetched first; only the difference is sent."""
    Todo.get("x").permissions.grant("read", BOB).save()
    wire.clear()
    listed.permissions.grant("read", EVE).save()
    assert wire.methods == ["GET", "PATCH"]
    assert listed.permissions.read == {BOB, EVE}


def test_a_grant_of_what_is_granted_sends_no_write(listed: Todo, wire: Wire) -> None:
    """Else it would give the object a new timestamp, and others a conflict for nothing."""
    Todo.get("x").permissions.grant("read", BOB).save()
    before = Todo.get("x")
    wire.clear()
    listed.permissions.grant("read", BOB).save()
    assert wire.methods == ["GET"]
    assert not listed.permissions.is_changed
    before.save(force=True)
    wire.clear()
    before.permissions.grant("read", BOB).save()
    assert wire.methods == []


def test_reading_and_assigning_attributes_never_sends(listed: Todo, wire: Wire) -> None:
    """Attribute access reads no network: assigning to what is not loaded does not either."""
    with contextlib.suppress(NotLoaded):
        listed.permissions.read = {BOB}
    assert wire.methods == []


def test_revoke_fetches_what_it_must_know(listed: Todo, wire: Wire) -> None:
    """Taking away needs the sets; the two requests are GET and PATCH."""
    Todo.get("x").permissions.grant("read", BOB, ZOE).save()
    wire.clear()
    listed.permissions.revoke("read", BOB).save()
    assert wire.methods == ["GET", "PATCH"]
    assert stored().read == {ZOE}


def test_revoke_keeps_earlier_grants(listed: Todo) -> None:
    """A grant that was made before the sets were fetched is still to be saved."""
    Todo.get("x").permissions.grant("read", BOB).save()
    listed.permissions.grant("read", EVE).revoke("read", BOB).save()
    assert stored().read == {EVE}


def test_those_who_may_only_read_see_none(todo: Todo, backend: Backend, wire: Wire) -> None:
    """The server shows permissions to writers only; to others they are not loaded, not empty."""
    todo.permissions.grant("read", Everyone).save()
    with backend.session(auth="bob:pw", bucket=wire.session.bucket):
        seen = Todo.get("x")
        with pytest.raises(NotLoaded, match="may write"):
            seen.permissions.read


def test_refresh_drops_unsaved_changes(todo: Todo) -> None:
    """Refreshing takes the server's state, permissions included."""
    todo.permissions.grant("read", BOB)
    todo.permissions.refresh()
    assert not todo.permissions.is_changed
    todo.permissions.grant("read", BOB)
    todo.refresh()
    assert not todo.permissions.is_changed


def test_refresh_can_keep_unsaved_changes(todo: Todo) -> None:
    """keep_changes=True keeps grants as it keeps fields."""
    theirs = Todo.get("x")
    theirs.title = "b"
    theirs.save()
    todo.permissions.grant("read", BOB)
    todo.refresh(keep_changes=True)
    todo.save()
    assert (todo.title, stored().read) == ("b", {BOB})


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


def test_permissions_of_no_object_cannot_be_saved() -> None:
    """They are given to an object first."""
    with pytest.raises(ConfigurationError, match="no object"):
        Permissions(read={Everyone}).save()


# Deleting, groups, and what happens to the object


def test_delete_clears_what_can_be_cleared(todo: Todo, wire: Wire) -> None:
    """All lists are emptied; the server keeps the one who asks in `write`."""
    me = set(todo.permissions.write)
    todo.permissions.grant("read", Everyone).grant("write", BOB).save()
    todo.permissions.delete()
    assert wire.methods[-1] == "PATCH"
    assert stored().read == set()
    assert stored().write == me == todo.permissions.write


@pytest.mark.parametrize("kind", [Bucket, Collection, Group])
def test_delete_on_each_kind(wire: Wire, backend: Backend, kind: Any) -> None:
    """Each kind has the names of its own cleared."""
    thing = kind(id=backend.new_id(), permissions={"read": [BOB]}).save()
    thing.permissions.delete()
    assert kind.get(thing.id).permissions.read == set()


def test_group_principal_grants_to_its_members(wire: Wire, backend: Backend) -> None:
    """Whoever is a member may, from the next request on."""
    with backend.session(auth="bob:pw", bucket=wire.session.bucket) as theirs:
        bob = str(theirs.server_info().user["id"])  # type: ignore[index]
        writers = Group(id="writers", members=[bob]).save(session=wire.session)
        assert writers.principal == f"/buckets/{wire.session.bucket}/groups/writers"
        todo = Todo(id="x", permissions={"write": [writers.principal]}).save(session=wire.session)
        seen = Todo.get("x")
        seen.title = "by bob"
        seen.save()
    assert todo.refresh().title == "by bob"


def test_permissions_of_what_is_gone(todo: Todo) -> None:
    """There is nothing to set them on: NotFound."""
    Todo.get("x").delete()
    with pytest.raises(NotFound, match="permissions of Todo 'x'"):
        todo.permissions.grant("read", BOB).save()


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


def test_a_field_named_like_the_permissions_of_the_server(session: Session) -> None:
    """Data that has a field `permissions` is data; the property stays the permissions."""
    record = Collection(id="todos").records.new(id="x")
    record["permissions"] = "a text"
    record.save()
    again = Collection(id="todos").records.get("x")
    assert again["permissions"] == "a text"
    assert again.permissions.read == set()


@pytest.mark.parametrize(
    "act",
    [
        lambda todo: todo.save(),
        lambda todo: todo.delete(),
        lambda todo: todo.permissions.grant("read", Everyone).save(),
    ],
    ids=["save", "delete", "grant"],
)
def test_a_reader_is_told_what_is_missing(session: Session, backend: Backend, act: Any) -> None:
    """No bucket is to be made: what was read there shows that it exists."""
    Todo(id="x", title="a", permissions={"read": [Authenticated]}).save()
    with backend.session(auth="bob:pw", bucket=session.bucket):
        todo = Todo.get("x")
        todo.title = "b"
        with pytest.raises(Forbidden, match="lack the permission 'write' on it") as raised:
            act(todo)
        assert "first" not in str(raised.value)
        with pytest.raises(Forbidden, match="does not exist, or you may not use it"):
            Todo(title="new").save()


def test_a_refresh_loads_what_was_never_asked_for(session: Session) -> None:
    """Also when nothing changed since the object was loaded from a list, or merged."""
    Todo(id="x", title="x", permissions={"read": {Everyone}}).save()
    listed = Todo.find().one()
    with pytest.raises(NotLoaded):
        listed.permissions.read
    assert listed.refresh().permissions.read == {Everyone}

    mine = Todo.get("x")
    theirs = Todo.get("x")
    theirs.title = "theirs"
    theirs.save()
    mine.permissions.read
    mine.title = "mine"
    with pytest.raises(Conflict) as refused:
        mine.save()
    merged = refused.value.merge(prefer="local")
    assert merged.refresh(keep_changes=True).permissions.read == {Everyone}


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
