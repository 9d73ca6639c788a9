"""The signature of a model's constructor, which tools ask for before the class is compiled."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import Any, Union

from pydantic._internal._signature import generate_pydantic_signature


class Made:
    """Stands in a signature for a default that is made for each object, and may be given back.

    Such as FastAPI does, which calls a dependency with the default of every parameter.
    """

    def __copy__(self) -> Made:
        return self

    def __deepcopy__(self, memo: object) -> Made:
        return self

    def __repr__(self) -> str:
        return "<factory>"


MADE = Made()


class ConstructorSignature:
    """The attribute `__signature__` of models: their fields, by the names that Pydantic has.

    What stands beside the fields (`permissions`, `bucket`) is the program's to give, and no
    parameter that a framework may fill in from a request; `last_modified` is the server's.
    """

    def __get__(self, model: Any, meta: type | None = None) -> Signature:
        if model is None:  # asked of the metaclass itself
            raise AttributeError("__signature__")
        return _signature_of(model)

    def __set__(self, model: Any, signature: object) -> None:
        """Keep this one when Pydantic sets its own."""


def _signature_of(model: Any) -> Signature:
    if not model.__pydantic_fields_complete__:
        model.model_rebuild(raise_errors=False)
    found = generate_pydantic_signature(
        init=model.__init__,
        fields=model.model_fields,
        validate_by_alias=True,
        extra="allow" if model.__kinto_open__ else "forbid",
    )
    given = [_parameter(each) for each in found.parameters.values() if each.name != "last_modified"]
    return found.replace(parameters=given)


def _parameter(each: Parameter) -> Parameter:
    if each.name == "id" and each.default is not Parameter.empty:
        return each.replace(annotation=Union[each.annotation, None], default=None)  # noqa: UP007
    return each.replace(default=MADE) if _is_factory(each.default) else each


def _is_factory(default: object) -> bool:
    return type(default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"
