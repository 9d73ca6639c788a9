"""The verbs of stored objects for an AsyncSession: the same flows, awaited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from kinto_orm.bulk.jobs import Existing
from kinto_orm.models.asking import scope_for, scope_of
from kinto_orm.models.copying import copying
from kinto_orm.models.deleting import Tombstone
from kinto_orm.models.getting import getting_or_creating, getting_or_none
from kinto_orm.models.stored import Stored
from kinto_orm.models.upserting import writing
from kinto_orm.queries.habits import hinted
from kinto_orm.queries.options import given_fields
from kinto_orm.wire.awaiting import arun
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    _Base = Stored
else:
    # For checkers they are methods of a stored object; Pydantic need not know of another model.
    _Base = object


class AsyncVerbs(_Base):
    """The twins of a stored object's verbs; each does what the verb without the `a` does."""

    __slots__ = ()

    @classmethod
    @hinted
    async def aget(cls, id: str, *, session: Scope | None = None) -> Self:
        """`get`, awaited."""
        scope = scope_for(cls, session)
        return await arun(scope, cls.__kinto_get__(scope, id))

    @classmethod
    @hinted
    async def aget_or_none(cls, id: str, *, session: Scope | None = None) -> Self | None:
        """`get_or_none`, awaited."""
        scope = scope_for(cls, session)
        return await arun(scope, getting_or_none(cls, scope, id))

    @classmethod
    @hinted
    async def aget_or_create(
        cls,
        id: str,
        defaults: Mapping[str, object] | None = None,
        /,
        *,
        session: Scope | None = None,
        **more: object,
    ) -> tuple[Self, bool]:
        """`get_or_create`, awaited."""
        verb = f"aget_or_create({id!r}, "
        given_fields(cls, verb, defaults, more, {"session": session}, refused=("id",))
        scope = scope_for(cls, session)
        return await arun(scope, getting_or_creating(cls, scope, id, defaults, more))

    async def asave(
        self,
        *,
        force: bool = False,
        existing: Existing = "fail",
        last_modified: int | None = None,
        session: Scope | None = None,
    ) -> Self:
        """`save`, awaited."""
        flow = writing(self, session, existing, force=force, last_modified=last_modified)
        await arun(scope_of(self, session), flow)
        return self

    async def acopy_to(
        self, target: Scope, /, *, id: str | None = None, force: bool = False
    ) -> Self:
        """`copy_to`, awaited."""
        if not isinstance(target, Scope):
            raise TypeError(f"acopy_to() takes an AsyncSession, not {target!r:.80}")
        return await arun(target, copying(self, target, id=id, force=force))

    async def adelete(
        self,
        *,
        missing_ok: bool = False,
        force: bool = False,
        session: Scope | None = None,
    ) -> Tombstone:
        """`delete`, awaited."""
        flow = self.__kinto_delete__(session, missing_ok=missing_ok, force=force)
        return await arun(scope_of(self, session), flow)

    async def arefresh(self, *, keep_changes: bool = False, session: Scope | None = None) -> Self:
        """`refresh`, awaited."""
        flow = self.__kinto_refresh__(session, keep_changes=keep_changes)
        return await arun(scope_of(self, session), flow)
