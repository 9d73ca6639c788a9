"""Verbs that change a part of an object: several fields at once, without loading, or in a race."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kinto_orm.errors import wrong_option
from kinto_orm.models.asking import scope_for
from kinto_orm.models.assigning import Assignment
from kinto_orm.models.contents import extra_of
from kinto_orm.models.patching import modifying, patching
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.queries.options import given_fields
from kinto_orm.wire.awaiting import arun
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    _Base = Stored
else:
    # For checkers they are methods of a stored object; Pydantic need not know of another model.
    _Base = object

S = TypeVar("S", bound=Stored)


class PartialUpdates(_Base):
    """Changing some fields of a stored object."""

    __slots__ = ()

    def assign(self, fields: Mapping[str, object] | None = None, /, **more: object) -> Self:
        """Set several fields, which are validated together; nothing is sent.

        Args:
            fields: The new values. Here every name is a field's.
            **more: More new values.

        Returns:
            Itself, so that `todo.assign(done=True, note="ok").save()` can be written.

        Raises:
            pydantic.ValidationError: One of them is refused; then the object is as it was.
            TypeError: The id, the timestamp or the permissions are given, or nothing is.
        """
        values = _values(type(self), "assign(", fields, more, {})
        Assignment(type(self), values, extra_of(self).keys()).apply(self)
        return self

    @classmethod
    def patch(
        cls,
        id: str,
        fields: Mapping[str, object] | None = None,
        /,
        *,
        if_match: int | None = None,
        session: Scope | None = None,
        **more: object,
    ) -> Self:
        """Set some fields of an object without loading it (`PATCH`).

        Of a class that is one of several kinds it is looked first which kind there is (`GET`); the
        write has that object's timestamp, so that it never comes to one of another class.

        Each field is validated by itself; validators of the whole model see the answer only, when
        it is stored already: `modify` has them see the object before it is sent. Of
        the hooks, `after_save` is called, with the object that the server answered with: before
        there is none.

        Args:
            id: Its id; of a template the name.
            fields: The new values. Here every name is a field's.
            if_match: The `last_modified` that it must still have; by default it is changed
                whatever it has.
            session: Which session to use. Where the model has fields `if_match` or `session`,
                they are meant in `fields` only.
            **more: More new values.

        Returns:
            The object as it is now, with all its fields.

        Raises:
            NotFound: There is none.
            Conflict: It has another timestamp than `if_match`; `.remote` is what is there.
            InvalidData: The server refuses the data; or it is of another class, and nothing was
                written; or what is stored now does not fit the model: then the message says that
                it was patched, `lost` is set, and `details["existing"]` is what is there.
            pydantic.ValidationError: A value is wrong, or the model has no such field.
            TypeError: It is not clear whether an option or a field is meant, or nothing is set.
        """
        scope = scope_for(cls, session)
        return run(scope, _patching(cls, "patch", id, fields, if_match, session, more))

    @classmethod
    def modify(
        cls,
        id: str,
        function: Callable[[Self], object],
        times: int = 5,
        *,
        session: Scope | None = None,
    ) -> Self:
        """Get an object, let a function change it, and save it; again when somebody else did.

        Args:
            id: Its id; of a template the name.
            function: Is given the object, and changes it; once for each time it is read.
            times: How often to do it again after a Conflict, 0 or more.
            session: Which session to use.

        Returns:
            The object, which is saved.

        Raises:
            NotFound: There is none, or none any more.
            Conflict: The last one, when it still conflicts; an unconfirmed one at once, since
                doing it again could do it twice.
            Exception: What the function raises; then nothing was saved.
        """
        scope = scope_for(cls, session)
        return run(scope, _modifying(cls, id, function, times, scope))

    @classmethod
    async def apatch(
        cls,
        id: str,
        fields: Mapping[str, object] | None = None,
        /,
        *,
        if_match: int | None = None,
        session: Scope | None = None,
        **more: object,
    ) -> Self:
        """`patch`, awaited."""
        scope = scope_for(cls, session)
        return await arun(scope, _patching(cls, "apatch", id, fields, if_match, session, more))

    @classmethod
    async def amodify(
        cls,
        id: str,
        function: Callable[[Self], object] | Callable[[Self], Awaitable[object]],
        times: int = 5,
        *,
        session: Scope | None = None,
    ) -> Self:
        """`modify`, awaited; the function may be a coroutine function."""
        scope = scope_for(cls, session)
        return await arun(scope, _modifying(cls, id, function, times, scope))


def _patching(
    model: type[S],
    verb: str,
    id: str,
    fields: Mapping[str, object] | None,
    stamp: int | None,
    session: Scope | None,
    more: Mapping[str, object],
) -> Flow[S]:
    if stamp is not None and type(stamp) is not int and "if_match" not in model.model_fields:
        raise TypeError(
            f"if_match= of {verb}() is a last_modified, a whole number of milliseconds, not "
            f"{stamp!r:.80}"
        )
    options = {"if_match": stamp, "session": session}
    values = _values(model, f"{verb}({id!r}, ", fields, more, options)
    return patching(model, scope_for(model, session), id, values, stamp)


def _values(
    model: type[Any],
    verb: str,
    fields: Mapping[str, object] | None,
    more: Mapping[str, object],
    options: Mapping[str, object],
) -> dict[str, object]:
    """The new values that a verb is given.

    Raises:
        TypeError: It does not set one of them, or there is none.
    """
    if "permissions" in more:
        raise TypeError(
            f"{verb}...) sets fields: permissions are changed on an object, as in "
            "todo.permissions.grant('read', Everyone).save()"
        )
    refused = {*NOT_DATA, model.__kinto_title__} if options else NOT_DATA
    values = given_fields(model, verb, fields, more, options, refused=sorted(refused))
    if not values:
        raise TypeError(f"{verb}...) was given no field to set")
    return values


def _modifying(
    model: type[S], id: str, function: Callable[..., object], times: int, scope: Scope
) -> Flow[S]:
    if type(times) is not int or times < 0:
        raise wrong_option(f"times must be 0 or more, not {times!r}")
    return modifying(model, scope, id, function, times)
