"""Hooks: what a model does before and after each save and each deletion.

They are called by the flows of saving and deleting, so that every way of writing calls them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from kinto_orm.errors import ConfigurationError, KintoError, ModelError, Unsupported
from kinto_orm.models.asking import scope_of
from kinto_orm.models.contents import name_of
from kinto_orm.models.deleting import Tombstone, refuse_unknown_object
from kinto_orm.models.saving import Saved, refuse_partial
from kinto_orm.models.state import state_of
from kinto_orm.models.stored import Stored
from kinto_orm.wire.flows import Flow, calling
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    _Base = Stored
else:
    # For checkers they are methods of a stored object; Pydantic need not know of another model.
    _Base = object

S = TypeVar("S", bound=Stored)


class Hooks(_Base):
    """The hooks of a stored object: they do nothing, and a model may override them.

    Each is a method, or a coroutine method for programs that await. Every way of saving and
    deleting objects calls them, once for each object: batches, `save_all` and `Query.update` too.
    """

    __slots__ = ()

    def before_save(self) -> Awaitable[None] | None:
        """Called before it is found out what is to be sent: what is set here is sent, too.

        It is called also when nothing has changed. What it raises is what became of the save,
        and nothing was sent.
        """

    def after_save(self) -> Awaitable[None] | None:
        """Called when the server has created or changed the object; not when nothing was sent.

        What it raises is told by the save; the object is saved all the same.
        """

    def before_delete(self) -> Awaitable[None] | None:
        """Called before a deletion is sent. What it raises is what became of the deletion."""

    def after_delete(self) -> Awaitable[None] | None:
        """Called when the object is gone, also with `missing_ok=True` when it was gone already.

        What it raises is told by the deletion; the object is deleted all the same.
        """

    @classmethod
    def __kinto_check_unseen_deletion__(cls) -> None:
        """Refuse a deletion in which no object is seen, if the class wants to see each.

        Raises:
            Unsupported: It says how they are deleted one by one.
        """
        for name in _DELETING:
            if has_hook(cls, name):
                raise Unsupported(
                    "the server deletes all that a query finds without showing them, so that "
                    f"{cls.__name__}.{name}() would not be called: write "
                    "session.delete_all(query), which deletes them one by one. Nothing was sent."
                )


_SAVING = ("before_save", "after_save")
_DELETING = ("before_delete", "after_delete")

# What programs override elsewhere, and what serves here.
_INSTEAD = {"save": _SAVING, "asave": _SAVING, "delete": _DELETING, "adelete": _DELETING}


def has_hook(model: type[Stored], name: str) -> bool:
    """Whether a class overrides a hook."""
    return getattr(model, name) is not getattr(Hooks, name)


def sees_deletions(model: type[Stored]) -> bool:
    """Whether a class, or that of one of its objects, has a hook that is given what is deleted."""
    kinds = model.__kinto_kinds__
    classes = [model, *(kinds.classes() if kinds is not None else ())]
    return any(has_hook(each, name) for each in classes for name in _DELETING)


def refuse_overridden_verbs(model: type[Stored], verbs: type[Stored]) -> None:
    """Refuse a class that overrides a verb, which most ways of writing do not call.

    Args:
        model: The class.
        verbs: The library's own one.

    Raises:
        ModelError: It names the hooks.
    """
    for verb, (before, after) in _INSTEAD.items():
        if getattr(model, verb) is not getattr(verbs, verb):
            raise ModelError(
                f"{model.__name__} cannot override {verb}(): batches, save_all(), delete_all() and "
                f"Query.update() would not call it. Override {before}() or {after}(), which every "
                "way of writing calls"
            )


def around_save(stored: Stored, given: Scope | None, saving: Flow[Saved]) -> Flow[Saved]:
    """A save, with the hooks of the object's class around it.

    Args:
        stored: The object.
        given: The session of the call.
        saving: The save, which was not begun.
    """
    if not _calls(stored, _SAVING):
        return saving
    return _around_save(stored, given, saving)


def _calls(stored: Stored, names: tuple[str, ...]) -> bool:
    """Whether hooks are called: of what is only rehearsed none is, for it might write."""
    has_hooks = any(has_hook(type(stored), name) for name in names)
    return has_hooks and not state_of(stored).rehearsed


def _around_save(stored: Stored, given: Scope | None, saving: Flow[Saved]) -> Flow[Saved]:
    refuse_partial(stored)
    refuse_coroutines(type(stored), scope_of(stored, given), _SAVING)
    yield from calling_hook(stored, "before_save")
    saved = yield from saving
    if saved != "unchanged":
        yield from calling_after(stored, "after_save", "saved")
    return saved


def around_delete(
    stored: Stored, given: Scope | None, deleting: Flow[Tombstone], *, force: bool
) -> Flow[Tombstone]:
    """A deletion, with the hooks of the object's class around it.

    Args:
        stored: The object.
        given: The session of the call.
        deleting: The deletion, which was not begun.
        force: Whether an object may be deleted that was never seen.
    """
    if not _calls(stored, _DELETING):
        return deleting
    return _around_delete(stored, given, deleting, force)


def _around_delete(
    stored: Stored, given: Scope | None, deleting: Flow[Tombstone], force: bool
) -> Flow[Tombstone]:
    refuse_unknown_object(stored, force=force)
    refuse_coroutines(type(stored), scope_of(stored, given), _DELETING)
    yield from calling_hook(stored, "before_delete")
    tombstone = yield from deleting
    yield from calling_after(stored, "after_delete", "deleted")
    return tombstone


def calling_hook(stored: Stored, name: str) -> Flow[None]:
    """Call a hook of an object.

    Raises:
        Exception: What it raises; a Conflict says that it is not that of the write.
    """
    try:
        yield from calling(getattr(stored, name), f"{type(stored).__name__}.{name}()")
    except KintoError as error:
        error.of_hook = True
        raise


def calling_after(stored: Stored, name: str, done: str) -> Flow[None]:
    """Call a hook of an object that was written; its error says that this was done.

    Raises:
        Exception: What it raises.
    """
    try:
        yield from calling_hook(stored, name)
    except Exception as error:
        error.add_note(f"{name_of(stored)} is {done}; this was raised by its {name}()")
        raise


def refuse_coroutines(model: type[Stored], scope: Scope, names: tuple[str, ...] = _SAVING) -> None:
    """Refuse coroutine hooks in a session that blocks, before anything is sent.

    Args:
        model: The class of what is to be written.
        scope: The session.
        names: The hooks that will be called; by default those of saving.

    Raises:
        ConfigurationError: One is a coroutine function.
    """
    if scope.__kinto_awaits__:
        return
    for name in names:
        if inspect.iscoroutinefunction(getattr(model, name)):
            raise ConfigurationError(
                f"{model.__name__}.{name}() is a coroutine function, and {scope!r} blocks: write "
                "it with `def`, or use an AsyncSession. Nothing was sent."
            )
