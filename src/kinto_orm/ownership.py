"""The permissions of an object: how they are held, read and sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kinto_orm import permissions as perms
from kinto_orm.conflicts import conflict_of
from kinto_orm.encoding import encode
from kinto_orm.errors import ConfigurationError, Conflict, Forbidden, InvalidData
from kinto_orm.loading import Source
from kinto_orm.permissions import Permissions, PermissionsOwner
from kinto_orm.placed import Placed
from kinto_orm.protocol import JSON_PATCH, Call, Reply, Request, if_match
from kinto_orm.state import NOT_DATA, State, own_state, state_of

_ATTEMPTS = 5


class ObjectPermissions(PermissionsOwner):
    """Reads and sends the permissions of one object.

    Args:
        resource: The object.
    """

    def __init__(self, resource: Permitted) -> None:
        self._resource = resource

    @property
    def _name(self) -> str:
        return self._resource._name

    def fetch_permissions(self) -> Permissions:
        """Read them from the server (`GET`)."""
        return self._run(Request("GET", self._path()), "read")

    def send_permissions(self, permissions: Permissions) -> None:
        """Send the difference (`PATCH`, JSON-Patch), without a precondition.

        When somebody else took one of the principals away meanwhile, the server refuses the
        whole patch; then it is made anew from what the server has.
        """
        session = self._resource._place(None)[0]
        with session.one_call():
            self._send_difference(permissions)

    def _send_difference(self, permissions: Permissions) -> None:
        for _ in range(_ATTEMPTS):
            patch, guard = self.patch(permissions), permissions.opened_since
            if not patch:
                return
            headers = {"Content-Type": JSON_PATCH} | (if_match(guard) if guard else {})
            try:
                permissions._take(self._patch(patch, headers))
                return
            except Conflict:
                permissions._rebase(self.fetch_permissions())
            except InvalidData:
                if not any(operation["op"] == "remove" for operation in patch):
                    raise
                permissions._rebase(self.fetch_permissions())
        raise conflict_of(self._resource, f"the permissions of {self._name} keep changing")

    def patch(self, permissions: Permissions) -> perms.JsonPatch:
        """The difference to what the server has, which is fetched when it is not known.

        Raises:
            Forbidden: The server does not show it, so that nothing can be taken away.
        """
        if permissions.is_blind:
            permissions._rebase(self.fetch_permissions())
        patch = permissions.patch()
        if not patch and permissions.is_changed:
            raise Forbidden(
                f"cannot save the permissions of {self._name}: the server shows them only to those "
                "who may write it. Nothing was sent.",
                status=403,
            )
        return patch

    def clear_permissions(self) -> None:
        """Empty every list (`PATCH`); the server keeps the one who asks in `write`."""
        names = sorted(perms.BY_KIND[self._resource.__kinto_kind__])
        cleared = self._patch({"permissions": {name: [] for name in names}}, {})
        permissions: Permissions = self._resource.permissions
        permissions._take(cleared)

    def _patch(self, body: Any, headers: Mapping[str, str]) -> Permissions:
        if self._resource.is_new:
            raise ConfigurationError(
                f"cannot save the permissions of {self._name}: save the object itself first; "
                "its permissions go with it. Nothing was sent."
            )
        content = encode(body, f"the permissions of {self._name}")
        return self._run(
            Request("PATCH", self._path(), body=content, headers=dict(headers), alone=True), "save"
        )

    def _path(self) -> str:
        return self._resource._path(self._resource._place(None)[1])

    def _run(self, request: Request, verb: str) -> Permissions:
        session, parent, parents = self._resource._place(None)

        def receive(reply: Reply) -> Permissions:
            self._resource._require_id(reply.object["data"], self._resource.id)
            self._bump(reply.object["data"])
            stored = reply.json.get("permissions") or {}
            stamp = reply.json["data"]["last_modified"]
            return perms.loaded(stored, self, self._resource.__kinto_kind__, stamp)

        doing = f"{verb} the permissions of {self._name} in {parent}"
        explained = parents and parents.explaining(loaded=not self._resource.is_new)
        return session.run(Call(request, receive, doing, parents=explained))

    def _bump(self, raw: dict[str, Any]) -> None:
        """Take a newer timestamp, if the data is still what it was when it was loaded.

        Otherwise the old one stays, so that the next save meets the conflict that there is.
        """
        state = own_state(self._resource)
        known = self._resource._raw()
        if state.source is None or not self._resource._fits(raw, known):
            return
        stamp = {name: raw[name] for name in NOT_DATA}
        state.source = Source(raws={raw["id"]: known | stamp}, kept=state.source.kept)
        self._resource._stamp(raw)


class Permitted(Placed):
    """The part of a model that has permissions."""

    def _bind_permissions(self, permissions: Permissions) -> Permissions:
        return permissions._bind(ObjectPermissions(self), self.__kinto_kind__)

    if not TYPE_CHECKING:

        @property
        def permissions(self) -> Permissions:
            """Who may do what; reading those that were not loaded is a NotLoaded error."""
            state = own_state(self)
            state.permissions = self._known_permissions(state)
            return state.permissions

        @permissions.setter
        def permissions(self, value: Permissions | Mapping[str, Iterable[str]]) -> None:
            wanted = self._bind_permissions(perms.wished(value))
            if self.is_new:
                own_state(self).permissions = wanted
            else:
                self.permissions._replace(wanted)

    def _renewed(
        self, stored: Mapping[str, list[str]] | None, as_of: int | None, *, keep: bool
    ) -> Permissions | Mapping[str, list[str]] | None:
        """The permissions after an answer; an object that somebody may hold stays the same."""
        held = state_of(self).permissions
        if not isinstance(held, Permissions):
            return stored
        fresh = perms.loaded(stored, held._owner, self.__kinto_kind__, as_of)
        if keep:
            held._rebase(fresh)
        else:
            held._take(fresh)
        return held

    def _has_fetched_permissions(self) -> bool:
        permissions = state_of(self).permissions
        if isinstance(permissions, Permissions):
            return permissions.is_fetched
        return permissions is not None

    def _has_pending_permissions(self) -> bool:
        permissions = state_of(self).permissions
        return isinstance(permissions, Permissions) and permissions.is_changed

    def _pending_permissions(self) -> perms.JsonPatch:
        permissions = state_of(self).permissions
        if not isinstance(permissions, Permissions):
            return []
        return ObjectPermissions(self).patch(permissions)

    def _known_permissions(self, state: State) -> Permissions:
        stored = state.permissions
        if isinstance(stored, Permissions):
            return stored
        if stored is None and (state.source is None or state.gone):
            return self._bind_permissions(Permissions())
        owner = ObjectPermissions(self)
        return perms.loaded(stored, owner, self.__kinto_kind__, self.last_modified)
