"""How the permissions of an object are read and sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kinto_orm.conflicts import conflict_of
from kinto_orm.encoding import encode
from kinto_orm.errors import ConfigurationError, Conflict, InvalidData
from kinto_orm.loading import Source
from kinto_orm.permissions import BY_KIND, Permissions, PermissionsOwner, loaded
from kinto_orm.protocol import JSON_PATCH, Call, Reply, Request, if_match
from kinto_orm.stored import NOT_DATA, own_state

if TYPE_CHECKING:
    from kinto_orm.resource import Resource

_ATTEMPTS = 5


class ObjectPermissions(PermissionsOwner):
    """Reads and sends the permissions of one object.

    Args:
        resource: The object.
    """

    def __init__(self, resource: Resource) -> None:
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
        for _ in range(_ATTEMPTS):
            if permissions.is_blind:
                permissions._rebase(self.fetch_permissions())
            patch, guard = permissions.patch(), permissions.opened_since
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

    def clear_permissions(self) -> None:
        """Empty every list (`PATCH`); the server keeps the one who asks in `write`."""
        names = sorted(BY_KIND[self._resource.__kinto_kind__])
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
            self._bump(reply.object["data"])
            stored = reply.json.get("permissions") or {}
            stamp = reply.json["data"]["last_modified"]
            return loaded(stored, self, self._resource.__kinto_kind__, stamp)

        doing = f"{verb} the permissions of {self._name} in {parent}"
        explained = None if parents is None else parents.explaining()
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
        state.source = Source(raws={raw["id"]: known | stamp})
        self._resource._stamp(raw)
