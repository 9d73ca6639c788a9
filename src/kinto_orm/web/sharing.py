"""Who may do what, in words: permissions and groups."""

from __future__ import annotations

from typing import Any, Final

from pydantic import JsonValue
from starlette.responses import Response

from kinto_orm.errors import NotLoaded
from kinto_orm.models.permissions import Authenticated, Everyone
from kinto_orm.models.record import Record
from kinto_orm.models.resource import Resource
from kinto_orm.models.structure import Bucket, Collection, Group
from kinto_orm.web.buckets import created
from kinto_orm.web.calls import Call
from kinto_orm.web.loaded import Data, data_of, raw
from kinto_orm.web.meeting import Target, merge, save, sealed, unsealed
from kinto_orm.web.pages import page
from kinto_orm.web.records import delete_shown
from kinto_orm.web.refusals import Refused
from kinto_orm.web.texts import as_sent
from kinto_orm.web.words import MAY, who

_PERSON: Final = "person"


def _target_of(call: Call) -> Target:
    """The object whose permissions the path names: the innermost."""
    named = call.request.path_params
    parts: tuple[str, ...] = ("buckets", named["bucket"])
    model: type[Resource] = Bucket
    for name, plural, cls in _INSIDE:
        if name in named:
            parts, model = (*parts, plural, named[name]), cls
    return Target(model, call.scope(), parts[-1], call.at(*parts), parts[-1])


_INSIDE: Final[list[tuple[str, str, type[Resource]]]] = [
    ("collection", "collections", Collection),
    ("id", "records", Record),
    ("group", "groups", Group),
]


async def permissions(call: Call) -> Response:
    """Show who may do what with an object."""
    target = _target_of(call)
    stored = await target.model.aget(target.id, session=target.scope)
    kind = stored.__kinto_kind__
    return page(
        call,
        "permissions.html",
        target=target,
        kind=kind,
        granted=_granted(stored, kind),
        offered=MAY[kind],
        groups=await _groups(call),
        people=await _people(call),
    )


def _granted(stored: Resource, kind: str) -> list[tuple[str, str]] | None:
    """Each permission with each who has it; None where the server does not tell."""
    try:
        return [
            (name, principal)
            for name in MAY[kind]
            for principal in sorted(stored.permissions.current(name))
        ]
    except (KeyError, NotLoaded):
        return None


async def _groups(call: Call) -> list[str]:
    """The principals of the groups of the bucket, as far as they may be listed."""
    from kinto_orm.errors import Forbidden

    try:
        found = await Group.find(session=call.scope()).limit(100).aall()
    except Forbidden:
        return []
    return [each.principal for each in found]


async def change_permissions(call: Call) -> Response:
    """Grant or revoke one permission; what others do meanwhile stays."""
    target = _target_of(call)
    stored = await target.model.aget(target.id, session=target.scope)
    name, granting = call.form.get("permission"), call.form.get("act") != "revoke"
    principal = await _principal(call)
    edit = stored.permissions.grant if granting else stored.permissions.revoke
    await edit(name, principal).asave()
    words = MAY[stored.__kinto_kind__].get(name, name)
    call.visit.tell(f"{who(principal)} can {'now' if granting else 'no longer'} {words}.")
    return call.goto(f"{target.path}/permissions")


async def _principal(call: Call) -> str:
    """Who was meant: chosen from the list, or written."""
    chosen = call.form.get("who")
    if chosen in ("", _PERSON):
        chosen = call.form.get("person").strip()
    if not chosen:
        raise Refused(
            422, "Nobody was named", "Go back, and choose somebody or write who is meant."
        )
    return await _whole(call, chosen)


async def _whole(call: Call, name: str) -> str:
    """The principal that was written; a plain name is that of an account where it reaches one.

    Raises:
        Refused: It reaches nobody.
    """
    if ":" in name or name in (Everyone, Authenticated) or name.startswith(("/", "system.")):
        return name
    if await _has_accounts(call):
        return f"account:{name}"
    raise Refused(
        422,
        "This is no principal",
        f"{name!r} reaches nobody: this server does not know people by plain names. Write the "
        f"whole principal of somebody, such as {_example(call)}. Each sees his own on the page of "
        "his buckets.",
    )


async def _has_accounts(call: Call) -> bool:
    """Whether people are known here by the names of accounts, as whoever asks is."""
    info = await call.session.server_info()
    policy = (call.visit.principal or "account:").partition(":")[0]
    return "accounts" in info.capabilities and policy != "basicauth"


def _example(call: Call) -> str:
    """How principals look here."""
    by_password = (call.visit.principal or "").startswith("basicauth:")
    return "basicauth:4f2a9c… with all its digits" if by_password else "portier:alexis@example.com"


async def _people(call: Call) -> str:
    """What may be written for somebody."""
    if await _has_accounts(call):
        return "The name of an account, such as alexis, or a whole principal."
    return (
        f"A whole principal, such as {_example(call)}: each sees his own on the page of his "
        "buckets. This server does not know people by plain names."
    )


# Groups


def _group(call: Call) -> Target:
    return _target_of(call)


async def group(call: Call) -> Response:
    """Show who is in a group."""
    stored = await Group.aget(call.named("group"), session=call.scope())
    shown = raw(stored)
    members = _members(shown)
    return page(
        call,
        "group.html",
        target=_group(call),
        members=members,
        text="\n".join(map(as_sent, members)),
        people=await _people(call),
        base=sealed(call, _group(call), shown),
    )


def _members(shown: Data) -> list[str]:
    members: Any = shown.get("members") or []
    return [str(each) for each in members]


async def save_group(call: Call) -> Response:
    """Save who is in a group, with its precondition."""
    target = _group(call)
    shown = unsealed(call, target)
    members = await _filled_in(call, _members(shown))
    return await save(call, target, shown, data_of(Group, shown) | {"members": members})


async def _filled_in(call: Call, before: list[str]) -> list[JsonValue]:
    """The members that were written; those that were there are not completed, nor cut."""
    text = as_sent(call.form.get("members"))
    if text == "\n".join(map(as_sent, before)):
        return [*before]
    known = {as_sent(each): each for each in before}
    return [
        known[each] if each in known else await _whole(call, each.strip())
        for each in text.split("\n")
        if each.strip() or each in known
    ]


async def merge_group(call: Call) -> Response:
    """Save what was chosen on the page of a conflict."""
    return await merge(call, _group(call))


async def create_group(call: Call) -> Response:
    """Create an empty group."""
    group = Group(id=call.form.get("id").strip(), members=[])
    new = await created(call, group, call.scope())
    call.visit.tell(f"The group {new.id} is there. Say who is in it.")
    return call.goto(call.at("buckets", call.named("bucket"), "groups", new.id))


async def delete_group(call: Call) -> Response:
    """Delete a group, if it is as it was shown."""
    target = _group(call)
    await delete_shown(call, target)
    call.visit.tell(f"Deleted: the group {target.title}.")
    return call.goto(call.at("buckets", call.named("bucket"), "groups"))
