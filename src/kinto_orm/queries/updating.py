"""Setting the same values on all objects that a query finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import ValidationError

from kinto_orm.queries.options import given_fields

if TYPE_CHECKING:
    from kinto_orm.bulk.summary import Failure, Summary


class Assignable(Protocol):
    """A class whose objects take values by their fields' names."""

    @classmethod
    def __kinto_names__(cls) -> dict[str, str]: ...
    @classmethod
    def __kinto_assignment__(cls, values: Mapping[str, object]) -> Any: ...


M = TypeVar("M")


class Updating(Generic[M]):
    """Sets values on objects, and puts aside those that they do not fit.

    Args:
        model: The class of the objects.
        fields: The new values. Here every name is a field's.
        more: More new values.
        workers: What was given as the option of this name.

    Attributes:
        workers: How many connections send at the same time.

    Raises:
        pydantic.ValidationError: A field that the model does not have, or a value that is wrong
            for every object.
        TypeError: It is not clear whether an option or a field is meant, or nothing is set.
    """

    def __init__(
        self,
        model: type[Assignable],
        fields: Mapping[str, object] | None,
        more: Mapping[str, object],
        workers: int | None,
    ) -> None:
        if "permissions" in more:
            raise TypeError(
                "update() sets fields: permissions are changed on each object, as in "
                "for each in query: each.permissions.grant('read', Everyone).save()"
            )
        refused = ("id", "last_modified")
        values = given_fields(model, "update(", fields, more, {"workers": workers}, refused=refused)
        if not values:
            raise TypeError(
                "update() was given no field to set; workers= is an option, and a field of that "
                "name is given as update({'workers': ...})"
            )
        self.workers = 1 if workers is None else workers
        self._assignment = model.__kinto_assignment__(values)
        self._unfit: list[Failure] = []

    def fits(self, each: M) -> bool:
        """Set the values on an object, unless they do not fit its other fields."""
        from kinto_orm.bulk.summary import Failure

        try:
            self._assignment.apply(each)
        except ValidationError as error:
            self._unfit.append(Failure(each, error))
            return False
        return True

    def completed(self, summary: Summary) -> Summary:
        """The summary, with what was put aside."""
        summary.failed += self._unfit
        return summary
