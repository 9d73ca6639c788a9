"""What programs see of a stored object: its attributes and its verbs, one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import JsonValue

from kinto_orm.models.asking import listing, scope_for, scope_of, uri_of
from kinto_orm.models.assigning import Assignment
from kinto_orm.models.attributes import (
    delete_item,
    get_item,
    has_item,
    modified_at,
    refuse_deletion,
    refuse_unloaded,
    set_attribute,
    set_item,
)
from kinto_orm.models.copying import copying
from kinto_orm.models.deleting import Tombstone, deleting
from kinto_orm.models.fetching import Getting
from kinto_orm.models.getting import getting
from kinto_orm.models.hooks import Hooks, around_delete, around_save, refuse_overridden_verbs
from kinto_orm.models.linking import Linked
from kinto_orm.models.making import (
    configure,
    copied_values,
    copy_state,
    make,
    mark_permissions,
    pickled,
    unpickled,
)
from kinto_orm.models.naming import check_stored_name, field_names, names_of, refuse_undeclared
from kinto_orm.models.permissions import Permissions, wished
from kinto_orm.models.permitting import (
    clearing_permissions,
    fetching_permissions,
    sending_permissions,
)
from kinto_orm.models.pristine import difference_of
from kinto_orm.models.refreshing import refreshing
from kinto_orm.models.saving import Saved, saving
from kinto_orm.models.state import bound, is_new, own_state, permissions_of, set_state, state_of
from kinto_orm.models.stored import Stored
from kinto_orm.models.twins import AsyncVerbs
from kinto_orm.models.updating import PartialUpdates
from kinto_orm.models.upserting import Upserting, writing
from kinto_orm.queries.habits import OF_OBJECTS, advice, hinted
from kinto_orm.queries.pager import Listing
from kinto_orm.queries.query import Query
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope, refuse_other

if TYPE_CHECKING:
    from kinto_orm.bulk.jobs import Existing
    from kinto_orm.queries.conditions import Condition


class Resource(Hooks, Getting, PartialUpdates, AsyncVerbs, Upserting, Linked, Stored):
    """Base of all stored objects; use Record, Bucket, Collection, Group, Template or Account."""

    # Making objects

    @classmethod
    def __kinto_configure__(
        cls, *, id_factory: Callable[[], str] | None = None, extra: str | None = None
    ) -> None:
        configure(cls, id_factory=id_factory, extra=extra)
        refuse_overridden_verbs(cls, __class__)  # type: ignore[name-defined]

    @classmethod
    def __kinto_make__(
        cls, create: Callable[[dict[str, Any]], Self], given: dict[str, Any]
    ) -> Self:
        return make(cls, create, given)

    if not TYPE_CHECKING:
        # Checkers know these from Pydantic, with the fields of each model.

        @classmethod
        def model_construct(cls, _fields_set=None, **values):
            """A new object without validation; the names of the fields are checked all the same."""
            made = cls.__kinto_class_to_make__(values)
            refuse_undeclared(made, values)
            return super(Resource, made).model_construct(_fields_set, **values)

        def model_copy(self, *, update=None, deep=False):
            """A copy that knows what the server has; under another id it is a new object.

            Args:
                update: Values for the copy, which are not validated; their names are.
                deep: Copy what the fields hold, too.
            """
            return super().model_copy(update=copied_values(self, update), deep=deep)

        def model_dump(self, *args, **options):
            """The fields as Pydantic dumps them.

            A stored field `permissions` that the model does not declare is marked, so that a
            constructor takes it for what it is: data, and not who may do what.
            """
            dumped = super().model_dump(*args, **options)
            mark_permissions(self, dumped)
            return dumped

    # What it is

    @property
    def is_new(self) -> bool:
        """Whether it was never saved nor loaded."""
        return is_new(self)

    @property
    def is_partial(self) -> bool:
        """Whether it was loaded with some fields only; then it cannot be saved."""
        return state_of(self).partial

    @property
    def uri(self) -> str:
        """The server path, such as `/buckets/blog/collections/articles/records/x`.

        In the personal bucket it has the word "default" until the first request of the session.
        """
        return uri_of(self)

    def diff(self) -> dict[str, tuple[Any, Any]]:
        """What is not saved yet, by field: (old, new); a missing value is None."""
        return difference_of(self)

    @classmethod
    def bind(cls, session: Scope | None) -> None:
        """Give the class a session for when the call, the object and the context have none.

        Args:
            session: The session; None takes it away again.

        Raises:
            ConfigurationError: It is something else, such as the URL of a server.
        """
        if session is not None:
            refuse_other(session, f"{cls.__name__}.bind: ")
        cls.__kinto_session__ = session

    # Reading; get() and its like are in fetching.py

    @classmethod
    @hinted
    def find(cls, *conditions: Condition | bool, session: Scope | None = None) -> Query[Self]:
        """A query over all objects that meet every condition; nothing is sent yet.

        Args:
            *conditions: Such as `Todo.done == False` or `col(Todo.due) < now`.
            session: Which session to use; by default the one that is current when it runs.
        """
        return Query(cls, session).where(*conditions)

    # Writing

    def save(
        self,
        *,
        force: bool = False,
        existing: Existing = "fail",
        last_modified: int | None = None,
        session: Scope | None = None,
    ) -> Self:
        """Create the object, or send what changed.

        New: `PUT` with `If-None-Match: *`. Changed: `PATCH` of the changed top-level fields with
        `If-Match` (a JSON-Patch when fields are removed or permissions change). Nothing changed:
        nothing is sent.

        Args:
            force: Overwrite without a precondition (`PUT`), whatever the server has.
            existing: What becomes of a new object whose id is there already. "fail": a Conflict.
                The others look first (`GET`): "update" sends what differs, and keeps the fields
                that the model does not declare; "replace" takes these away, too;
                "skip" leaves alone what is there, and the object is as it was.
            last_modified: For replicas only: the timestamp to be stored, in milliseconds, instead
                of the server's own. A new object keeps any, a stored one only a newer one. Every
                later write of the collection gets one beyond it.
            session: Which session to use; where the object does not live it is created.

        Returns:
            Itself, with what the server made of it.

        Raises:
            Conflict: It exists already, was changed by somebody else, or is gone.
            InvalidData: The server refuses the data, or the library knows that it would.
        """
        flow = writing(self, session, existing, force=force, last_modified=last_modified)
        run(scope_of(self, session), flow)
        return self

    def copy_to(self, target: Scope, /, *, id: str | None = None, force: bool = False) -> Self:
        """Create a copy of this object in the scope of another session (`PUT`).

        What is not saved yet is copied, too; permissions are not.

        Args:
            target: On any server; `session.scoped(collection="archive")` for another scope, which
                counts also for a class that names a collection of its own.
            id: The copy's id; by default the same.
            force: Overwrite what is there under this id.

        Returns:
            The copy, which is saved and lives there.

        Raises:
            Conflict: There is an object with this id already.
            ConfigurationError: The target's scope names no place for it.
        """
        if not isinstance(target, Scope):
            raise TypeError(f"copy_to() takes a Session, not {target!r:.80}")
        return run(target, copying(self, target, id=id, force=force))

    def delete(
        self,
        *,
        missing_ok: bool = False,
        force: bool = False,
        session: Scope | None = None,
    ) -> Tombstone:
        """Delete the object (`DELETE` with `If-Match`).

        Args:
            missing_ok: Be content when it is gone already.
            force: Delete it without a precondition, whatever the server has.
            session: Which session to use.

        Raises:
            Conflict: It was changed by somebody else, or is gone.
        """
        flow = self.__kinto_delete__(session, missing_ok=missing_ok, force=force)
        return run(scope_of(self, session), flow)

    def refresh(self, *, keep_changes: bool = False, session: Scope | None = None) -> Self:
        """Take the server's state (`GET` with `If-None-Match`).

        Args:
            keep_changes: Keep what is not saved yet; the other fields become the server's.
            session: Which session to use.

        Raises:
            NotFound: It is gone.
            InvalidData: What is kept does not fit the server's state; then nothing has changed.
        """
        flow = self.__kinto_refresh__(session, keep_changes=keep_changes)
        return run(scope_of(self, session), flow)

    # The same as flows, for whoever drives them: what a batch and a query need of a model.

    def __kinto_save__(
        self, given: Scope | None, *, force: bool = False, last_modified: int | None = None
    ) -> Flow[Saved]:
        flow = saving(self, given, force=force, last_modified=last_modified)
        return around_save(self, given, flow)

    def __kinto_delete__(
        self, given: Scope | None, *, missing_ok: bool = False, force: bool = False
    ) -> Flow[Tombstone]:
        flow = deleting(self, given, missing_ok=missing_ok, force=force)
        return around_delete(self, given, flow, force=force)

    def __kinto_refresh__(
        self, given: Scope | None, *, keep_changes: bool = False, whole: bool = False
    ) -> Flow[Self]:
        return refreshing(self, given, keep_changes=keep_changes, whole=whole)

    @classmethod
    def __kinto_get__(cls, scope: Scope, id: str) -> Flow[Self]:
        return getting(cls, scope, id)

    @classmethod
    def __kinto_listing__(cls, given: Scope | None, plural: str | None) -> Flow[Listing[Self]]:
        return listing(cls, given, plural)

    @classmethod
    def __kinto_scope__(cls, given: Scope | None) -> Scope:
        return scope_for(cls, given)

    @classmethod
    def __kinto_field_names__(cls) -> set[str]:
        return field_names(cls)

    @classmethod
    def __kinto_names__(cls) -> dict[str, str]:
        return names_of(cls)

    @classmethod
    def __kinto_check_stored_name__(cls, stored: str) -> None:
        check_stored_name(cls, stored)

    @classmethod
    def __kinto_assignment__(cls, values: Mapping[str, object]) -> Assignment:
        return Assignment(cls, values)

    # Permissions

    if TYPE_CHECKING:

        @property
        def permissions(self) -> Permissions:
            """Who may do what."""

        @permissions.setter
        def permissions(self, value: Permissions | Mapping[str, Iterable[str]]) -> None: ...

    else:

        @property
        def permissions(self) -> Permissions:
            """Who may do what; reading those that were not loaded is a NotLoaded error."""
            return permissions_of(self)

        @permissions.setter
        def permissions(self, value: Permissions | Mapping[str, Iterable[str]]) -> None:
            wanted = bound(self, wished(value))
            if is_new(self):
                own_state(self).permissions = wanted
            else:
                permissions_of(self).replace_by(wanted)

    def __kinto_lives_in__(self) -> Scope:
        return scope_of(self)

    def __kinto_fetching_permissions__(self) -> Flow[Permissions]:
        return fetching_permissions(self)

    def __kinto_permitting__(self, permissions: Permissions, given: Scope | None) -> Flow[None]:
        return sending_permissions(self, permissions, given)

    def __kinto_clearing_permissions__(self) -> Flow[None]:
        return clearing_permissions(self)

    # Attributes and items

    if not TYPE_CHECKING:
        # Hidden from checkers, or they would take every name for an attribute.

        def __setattr__(self, name: str, value: Any) -> None:
            set_attribute(self, name, value, super().__setattr__)

        def __delattr__(self, name: str) -> None:
            refuse_deletion(self, name)
            super().__delattr__(name)

        def __getattr__(self, name: str) -> Any:
            refuse_unloaded(self, name)
            if name == "modified_at" and not has_item(self, name):
                return modified_at(self)
            try:
                return super().__getattr__(name)
            except AttributeError as error:
                told = advice(OF_OBJECTS, name)
                if not told:
                    raise  # a property may have met what was not loaded
                raise AttributeError(f"{error}{told}") from None

    def __getitem__(self, name: str) -> JsonValue:
        return get_item(self, name)

    def __setitem__(self, name: str, value: JsonValue) -> None:
        set_item(self, name, value)

    def __delitem__(self, name: str) -> None:
        delete_item(self, name)

    def __contains__(self, name: object) -> bool:
        return has_item(self, name)

    # Copies carry what the server has

    def __copy__(self) -> Self:
        made = super().__copy__()
        copy_state(self, made)
        return made

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        made = super().__deepcopy__(memo)
        copy_state(self, made)
        return made

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        hidden = dict.fromkeys(self.__kinto_secrets__)
        values = {**state["__dict__"], **hidden}
        return state | {"__dict__": values, "__kinto_state__": pickled(self)}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        kept = state.pop("__kinto_state__")
        super().__setstate__(state)
        set_state(self, unpickled(self, kept))
