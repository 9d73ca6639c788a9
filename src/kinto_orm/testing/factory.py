"""Objects of a model with plausible values, for tests; the values are made by polyfactory."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from kinto_orm.errors import ConfigurationError
from kinto_orm.models.asking import scope_for
from kinto_orm.models.links import link_fields, links_of
from kinto_orm.wire.scope import check_kind, checked_model

if TYPE_CHECKING:
    from kinto_orm.models.resource import Resource

    M = TypeVar("M", bound=Resource)


class Factory:
    """Makes objects of models; the fixture `kinto_factory` is one.

    Each field that is not given gets a value: also those that are optional or have a default. Only
    `id`, `permissions` and what the server makes are left as the model has them. The values are the
    same in each run of the same test.

    Args:
        seed: Equal seeds make equal values.

    Raises:
        ConfigurationError: The extra `test` is not installed.
    """

    def __init__(self, seed: str | int = 0) -> None:
        try:
            from kinto_orm.testing.values import Values
        except ImportError as error:
            raise ConfigurationError(
                f"kinto_factory needs packages that are not installed ({error}): "
                "pip install 'kinto-orm[test]'"
            ) from error
        self._values = Values(Random(seed))  # noqa: S311  (nothing to be kept secret)

    def __call__(self, model: type[M], /, **fields: Any) -> M:
        """Make one object, unsaved; nothing is sent.

        A link leads to an unsaved object of its own, which is its `loaded`.

        Args:
            model: Its class. Of a class with kinds, one of the kinds.
            **fields: What is given, as the constructor of the class takes it.

        Raises:
            ValidationError: The model has a rule that its types do not say, and the value that
                was made does not follow it: give that field.
            ConfigurationError: There is a field of whose type no value can be made: give it.
        """
        return self._values.made(checked_model(model), fields)

    def many(self, model: type[M], number: int, /, **fields: Any) -> list[M]:
        """Make several objects, unsaved; see the call.

        Args:
            model: Their class.
            number: How many.
            **fields: What is given to each of them.
        """
        return [self(model, **fields) for _ in range(number)]

    def create(self, model: type[M], number: int, /, **fields: Any) -> list[M]:
        """Make several objects and save them over the current session, in batches.

        Unsaved objects that they link to are saved first.

        Args:
            model: Their class.
            number: How many.
            **fields: What is given to each of them.

        Raises:
            KintoError: The first that could not be saved.
        """
        made = self.many(model, number, **fields)
        session: Any = scope_for(model, None)
        check_kind(session, awaits=False)
        session.save_all(_in_order(made), on_error="raise")
        return made

    async def acreate(self, model: type[M], number: int, /, **fields: Any) -> list[M]:
        """`create`, awaited."""
        made = self.many(model, number, **fields)
        session: Any = scope_for(model, None)
        check_kind(session, awaits=True)
        await session.save_all(_in_order(made), on_error="raise")
        return made


def _in_order(made: list[M]) -> list[Resource]:
    """The objects, each of them after what it links to."""
    found: dict[int, Resource] = {}
    for each in made:
        found.update((id(one), one) for one in _with_linked(each, set()))
    return list(found.values())


def _with_linked(one: Resource, seen: set[int]) -> Iterator[Resource]:
    if id(one) in seen or not one.is_new:
        return
    seen.add(id(one))
    for link in links_of(one, link_fields(type(one))):
        if link.loaded is not None:
            yield from _with_linked(link.loaded, seen)
    yield one
