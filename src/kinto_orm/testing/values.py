"""Plausible values for the fields of models. Importing this module imports polyfactory.

polyfactory knows what values a type may have. What it makes of texts is noise, and of times depends
on today: so those are made here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, ClassVar, TypeVar, get_args

import pydantic
from faker import Faker
from polyfactory.exceptions import ParameterException
from polyfactory.factories.pydantic_factory import ModelFactory
from polyfactory.field_meta import FieldMeta
from polyfactory.utils.helpers import unwrap_annotation
from polyfactory.utils.predicates import is_optional, is_union
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from kinto_orm.errors import ConfigurationError
from kinto_orm.models.declaring import alternatives, is_link, is_list_of_links
from kinto_orm.models.links import Link
from kinto_orm.models.resource import Resource
from kinto_orm.models.stored import Stored

M = TypeVar("M", bound=Resource)

# What a field's name, or the last word of it, says of its text: Faker's name for that.
_TEXTS = {
    "address": "street_address",
    "author": "name",
    "body": "paragraph",
    "city": "city",
    "company": "company",
    "country": "country",
    "description": "paragraph",
    "email": "safe_email",
    "firstname": "first_name",
    "lastname": "last_name",
    "link": "url",
    "name": "name",
    "notes": "paragraph",
    "owner": "name",
    "phone": "phone_number",
    "slug": "slug",
    "street": "street_name",
    "text": "paragraph",
    "url": "url",
    "user": "user_name",
    "username": "user_name",
    "website": "url",
}
# Times lie between these; nothing depends on today.
_EARLIEST, _LATEST = datetime(2020, 1, 1), datetime(2030, 1, 1)
_PAST, _FUTURE = datetime(2000, 1, 1), datetime(2100, 1, 1)
_DECADE = timedelta(days=3650)
_HOLDS = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
_BOUNDS = _HOLDS.keys()
# What is given of these goes to the model as it is.
_KEPT = {"id", "permissions"}


class Values:
    """Makes objects with values from one source of chance.

    Args:
        random: The source.
    """

    def __init__(self, random: Random) -> None:
        faker = Faker("en_US", use_weighting=False)
        faker.seed_instance(random.getrandbits(64))
        self.random = random
        self.faker = faker
        self._factories: dict[type[Any], type[ModelFactory[Any]]] = {}
        self._under_way: list[type[Stored]] = []

    def made(self, model: type[M], given: Mapping[str, Any]) -> M:
        """An object of a model; what is given comes before what is made.

        Raises:
            ValidationError: The model does not take it.
            ConfigurationError: No value can be made for a field.
        """
        model = self._kind(model, given)
        kept = {name: given[name] for name in given.keys() & _KEPT}
        wanted = {name: given[name] for name in given.keys() - _KEPT}
        self._under_way.append(model)
        try:
            fields = self.factory_of(model).process_kwargs(**wanted)
            return model(**{**fields, **kept})
        except ValidationError as error:
            if not hasattr(error, "__notes__"):  # that of what is linked says more
                error.add_note(_note(model))
            raise
        except ParameterException as error:
            raise ConfigurationError(f"{str(error).splitlines()[0]} {_note(model)}") from error
        finally:
            self._under_way.pop()

    def factory_of(self, model: type[Any]) -> type[ModelFactory[Any]]:
        """What makes the fields of a model, also of one that is no resource."""
        found = self._factories.get(model)
        if found is None:
            chance = {"__random__": self.random, "__faker__": self.faker, "__values__": self}
            bases: Any = (_Plausible,)
            made: Any = ModelFactory.create_factory(model, bases, **chance)
            found = self._factories[model] = made
        return found

    def link(self, target: type[M]) -> Link[M]:
        """A link to a new object; where that links back, to one that nobody made."""
        if target in self._under_way:
            return Link(target, self.faker.uuid4())
        return Link.to(self.made(target, {}))

    def is_under_way(self, target: type[Any]) -> bool:
        """Whether an object of this class is made, of which this is a part."""
        return target in self._under_way

    def _kind(self, model: type[M], given: Mapping[str, Any]) -> type[M]:
        """The class of the object: of a class with kinds, one of them."""
        kinds = model.__kinto_kinds__
        if kinds is None:
            return model
        named: type[M] = kinds.class_to_make(model, given)
        if named is not model or kinds.field in given:
            return named
        below = [each for each in kinds.classes() if issubclass(each, model)]
        return self.random.choice(below) if below else model

    # Values

    def text(self, name: str) -> str:
        """A text for a field of this name; for one without a name a word."""
        if not name:
            word: str = self.faker.word()
            return word
        key = name.lower()
        kind = _TEXTS.get(key) or _TEXTS.get(key.rpartition("_")[2])
        if kind is not None:
            return str(getattr(self.faker, kind)()).replace("\n", " ")
        return " ".join(self.faker.words(3)).capitalize()

    def text_of_length(self, name: str, least: int, most: int) -> str:
        """The same, from `least` to `most` characters long."""
        text = self.text(name)
        while len(text) < least:
            text += f" {self.faker.word()}"
        text = text[:most].rstrip()
        return text + "x" * (least - len(text))

    def moment(self, least: datetime, most: datetime) -> datetime:
        """A time from `least` to `most`, at a whole second where there is one."""
        found = least + timedelta(
            seconds=self.random.randint(0, int((most - least).total_seconds()))
        )
        whole = found.replace(microsecond=0)
        return whole if whole >= least else found

    def providers(self) -> dict[Any, Callable[[], Any]]:
        """What makes values by their types, where polyfactory's depend on today, or are noise."""
        moment, random, word = self.moment, self.random, self.faker.word
        usual = partial(moment, _EARLIEST, _LATEST)
        past, future = (
            partial(moment, _PAST, _EARLIEST),
            partial(moment, _FUTURE, _FUTURE + _DECADE),
        )
        return {
            Any: word,
            object: word,
            str: word,
            bytes: lambda: word().encode(),
            dict: lambda: {word(): word()},
            list: lambda: [word()],
            set: lambda: {word()},
            frozenset: lambda: frozenset([word()]),
            tuple: lambda: (word(),),
            Path: lambda: Path(f"{word()}.txt"),
            float: lambda: round(random.uniform(0, 1000), 2),
            Decimal: lambda: Decimal(random.randrange(100_000)) / 100,
            datetime: usual,
            date: lambda: usual().date(),
            time: lambda: usual().time(),
            timedelta: lambda: timedelta(seconds=random.randrange(2_592_000)),
            pydantic.NaiveDatetime: usual,
            pydantic.AwareDatetime: lambda: usual().replace(tzinfo=UTC),
            pydantic.PastDatetime: past,
            pydantic.FutureDatetime: future,
            pydantic.PastDate: lambda: past().date(),
            pydantic.FutureDate: lambda: future().date(),
        }


class _Plausible:
    """What is made otherwise than by polyfactory; its factories have this before their own ways."""

    __values__: ClassVar[Values]
    # What may be None has a value, so that tests need not be run often to meet it.
    __allow_none_optionals__ = False
    __randomize_collection_length__ = True
    __min_collection_length__ = 1
    __max_collection_length__ = 3

    @classmethod
    def get_provider_map(cls) -> dict[Any, Callable[[], Any]]:
        return {**super().get_provider_map(), **cls.__values__.providers()}  # type: ignore[misc]

    @classmethod
    def should_set_field_value(cls, field_meta: FieldMeta, **kwargs: Any) -> bool:
        model = cls.__model__  # type: ignore[attr-defined]
        info = model.model_fields.get(field_meta.name)
        if info is not None and not info.is_required() and _is_left(model, field_meta.name, info):
            return False
        return bool(super().should_set_field_value(field_meta, **kwargs))  # type: ignore[misc]

    @classmethod
    def get_field_value(cls, field_meta: FieldMeta, *args: Any, **kwargs: Any) -> Any:
        annotation = unwrap_annotation(field_meta.annotation)
        if is_link(annotation):
            return cls._link(field_meta, _target(annotation))
        is_one_of = is_union(field_meta.annotation)
        if annotation is str and not field_meta.constraints and not is_one_of:
            return cls.__values__.text(field_meta.name)
        if is_list_of_links(annotation) and any(
            map(cls.__values__.is_under_way, _targets(annotation))
        ):
            return []
        return super().get_field_value(field_meta, *args, **kwargs)  # type: ignore[misc]

    @classmethod
    def get_constrained_field_value(
        cls, annotation: Any, field_meta: FieldMeta, *args: Any, **kwargs: Any
    ) -> Any:
        constraints = field_meta.constraints or {}
        if annotation is str and constraints.keys() <= {"min_length", "max_length"}:
            least = constraints.get("min_length") or 0
            most = constraints.get("max_length") or max(100, least)
            return cls.__values__.text_of_length(field_meta.name, least, most)
        if annotation in (date, datetime) and constraints.keys() <= _BOUNDS:
            return _within(cls.__values__, annotation, constraints)
        if annotation is int and constraints.keys() <= _BOUNDS:
            return _whole(cls.__values__, constraints)
        found = super().get_constrained_field_value(annotation, field_meta, *args, **kwargs)  # type: ignore[misc]
        # A Kinto reads a number of seventeen digits as its neighbour.
        is_plain = type(found) is float and constraints.keys() <= _BOUNDS
        return _shortened(found, constraints) if is_plain else found

    @classmethod
    def _get_or_create_factory(cls, model: type[Any]) -> Any:
        if ModelFactory.is_supported_type(model):
            return cls.__values__.factory_of(model)
        return super()._get_or_create_factory(model)  # type: ignore[misc]

    @classmethod
    def _link(cls, field_meta: FieldMeta, target: type[Any]) -> Link[Any] | None:
        values = cls.__values__
        if values.is_under_way(target) and is_optional(field_meta.annotation):
            return None
        return values.link(target)


def _target(annotation: Any) -> Any:
    """The class to which a type of links leads."""
    return get_args(annotation)[0]


def _targets(annotation: Any) -> list[Any]:
    parts = [part for each in get_args(annotation) for part in alternatives(each)]
    return [_target(each) for each in parts if is_link(each)]


def _is_left(model: type[Any], name: str, info: FieldInfo) -> bool:
    """Whether a field that needs no value is left as the model has it.

    So are those of the library's own classes, such as `id`, and what is never stored.
    """
    if info.exclude or not issubclass(model, Stored):
        return bool(info.exclude)
    ours: Any = next(each for each in model.__mro__ if each.__module__.startswith("kinto_orm."))
    known = ours.model_fields.get(name)
    return known is not None and info.metadata == known.metadata


def _within(values: Values, kind: type[date], bounds: Mapping[str, Any]) -> Any:
    """A date, or a time, within bounds."""
    step = timedelta(seconds=1) if kind is datetime else timedelta(days=1)
    first: Any = bounds["gt"] + step if "gt" in bounds else bounds.get("ge")
    last: Any = bounds["lt"] - step if "lt" in bounds else bounds.get("le")
    first = last - _DECADE if first is None else first
    last = first + _DECADE if last is None else last
    if kind is datetime:
        return values.moment(first, last)
    return first + timedelta(days=values.random.randint(0, (last - first).days))


def _whole(values: Values, bounds: Mapping[str, Any]) -> int:
    """An integer within bounds; near one of them where there is no other."""
    first: Any = math.floor(bounds["gt"]) + 1 if "gt" in bounds else bounds.get("ge")
    last: Any = math.ceil(bounds["lt"]) - 1 if "lt" in bounds else bounds.get("le")
    least = math.ceil(last - 1000 if first is None else first)
    most = math.floor(first + 1000 if last is None else last)
    return values.random.randint(least, most)


def _shortened(number: float, bounds: Mapping[str, Any]) -> float:
    """The number with the fewest digits with which it keeps its bounds."""
    for digits in range(2, 15):
        short = round(number, digits)
        if all(_HOLDS[name](short, bound) for name, bound in bounds.items()):
            return short
    return number


def _note(model: type[Any]) -> str:
    return (
        "kinto_factory made the values by the types of the fields; give the one that has a rule of "
        f"its own: kinto_factory({model.__name__}, field=...)"
    )
