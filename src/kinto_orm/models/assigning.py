"""Setting several fields of an object at once: all of them together are valid, or none is set."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from kinto_orm.errors import InvalidData
from kinto_orm.models.attributes import set_item
from kinto_orm.models.declaring import accepted_names, refuse_link_id
from kinto_orm.models.kinds import kind_of, refuse_change
from kinto_orm.models.links import complaint_of_id, links_in
from kinto_orm.models.loading import loader_of
from kinto_orm.models.stored import Stored

S = TypeVar("S", bound=Stored)

# What a validator says, which may look at other fields; all else is wrong for every object.
_BY_VALIDATORS = {"value_error", "assertion_error"}


class Assignment:
    """Values for some fields of a model, by any name that its constructor takes.

    Args:
        model: The model.
        values: The new values.
        held: The names of fields that are not declared, and that the object has: what others
            stored may be set, as by an assignment.

    Raises:
        pydantic.ValidationError: A value is wrong whatever the other fields are, or the model has
            no such field.
    """

    def __init__(
        self, model: type[Stored], values: Mapping[str, Any], held: Collection[str] = ()
    ) -> None:
        model.__kinto_check_names__({n: value for n, value in values.items() if n not in held})
        self._model = model
        self._values = {_python_name(model, name): value for name, value in values.items()}
        # Validators see the fields that are declared before theirs, as in a constructor.
        self._declared = [name for name in model.model_fields if name in self._values]
        self._fields = loader_of(model).of_fields(frozenset(model.model_fields))
        for name in self._declared:
            self._refuse_wrong(name)

    def _refuse_wrong(self, name: str) -> None:
        try:
            given: Any = self._fields.validate_assignment({}, name, self._values[name])
        except ValidationError as error:
            if not {each["type"] for each in error.errors()} & _BY_VALIDATORS:
                raise
            return
        except LookupError:
            # A validator that looks at another field: it is asked with each object.
            return
        for link in links_in(given[0][name]):
            if wrong := complaint_of_id(link.model, link.id):
                refuse_link_id(self._model, name, self._values[name], wrong)

    def alone(self, model: type[S], id: str) -> S:
        """An object that has these values, and no others.

        Raises:
            pydantic.ValidationError: A value is wrong.
            InvalidData: A validator looks at a field that is not given.
        """
        made = model.__new__(model)
        values: Any = {}
        for name in self._declared:
            try:
                values, _, _ = self._fields.validate_assignment(values, name, self._values[name])
            except LookupError as error:
                raise InvalidData(
                    f"{model.__name__}.{name} cannot be checked by itself: its validator looks at "
                    f"{error}. Give that, too, or use modify(). Nothing was sent."
                ) from error
        object.__setattr__(made, "__dict__", {**values, "id": id, "last_modified": None})
        object.__setattr__(made, "__pydantic_fields_set__", {"id", *self._declared})
        others = {n: value for n, value in self._values.items() if n not in self._declared}
        object.__setattr__(made, "__pydantic_extra__", others)
        object.__setattr__(made, "__pydantic_private__", None)
        return made

    def apply(self, target: Stored) -> None:
        """Set the fields of an object.

        Raises:
            pydantic.ValidationError: They are not valid together; the object is as it was.
            InvalidData: It would be an object of another class, of several kinds.
        """
        if len(self._values) == 1:
            [(name, value)] = self._values.items()
            set_item(target, name, value)
            return
        trial = copy.copy(target)
        for name in self._values.keys() - {*self._declared}:
            set_item(trial, name, self._values[name])
        if self._declared:
            self._put(trial)
            # The last one starts the validators of the whole model, which see all the others.
            setattr(trial, self._declared[-1], self._values[self._declared[-1]])
        refuse_change(trial, kind_of(target))
        for slot in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
            object.__setattr__(target, slot, getattr(trial, slot))
        target.__pydantic_fields_set__.update(trial.__pydantic_fields_set__)

    def _put(self, trial: Stored) -> None:
        """Set the declared fields, each one valid by itself."""
        data: Any = {
            name: value for name, value in trial.__dict__.items() if name not in self._declared
        }
        for name in self._declared:
            data, _, _ = self._fields.validate_assignment(data, name, self._values[name])
        trial.__dict__.update(data)
        trial.__pydantic_fields_set__.update(self._declared)


def _python_name(model: type[Stored], name: str) -> str:
    """The field's own name; that of a field which is not declared is its name."""
    if name in model.model_fields:
        return name
    fields = model.model_fields.items()
    return next((each for each, info in fields if name in accepted_names(each, info)), name)
