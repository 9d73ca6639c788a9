"""What every stored object is: its fields, and what its class says of it.

Programs see `Resource`; what the library does with an object is in functions that take a Stored.
What a class says for them is named `__kinto_...__`, so that no field of a program clashes with it.
"""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core import CoreSchema

from kinto_orm._shown import DescribedModel
from kinto_orm.errors import ConfigurationError, ResponseError
from kinto_orm.models.metaclass import ResourceMeta, constructor_keyword
from kinto_orm.models.naming import described, guarded, refuse_undeclared
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.veiling import has_secrets, veil_of
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply
from kinto_orm.wire.scope import Scope
from kinto_orm.wire.veils import Veil

# What the path or the server says; never sent as data.
NOT_DATA = frozenset({"id", "last_modified"})

# Whatever a model's settings do to its other strings (str_to_lower, str_max_length).
_Id = Annotated[
    str,
    StringConstraints(strip_whitespace=False, to_lower=False, to_upper=False, max_length=2**31),
]


class Stored(DescribedModel, BaseModel, metaclass=ResourceMeta):
    """The fields of a stored object, and what its class says of it.

    Attributes:
        id: Checked against the server's rule when it is used, never rewritten.
        last_modified: Milliseconds since 1970 by the server's clock; None until saved.
        modified_at: The same as a datetime in UTC. A field of this name, declared or only
            stored, is that field instead.
    """

    # Room for its state: a slot costs nothing when objects are loaded.
    __slots__ = ("__kinto_state__",)

    model_config = ConfigDict(
        extra="allow",
        validate_assignment=True,
        validate_by_name=True,
        validate_by_alias=True,
        ser_json_inf_nan="constants",
    )

    # Aliases of their own: an alias generator of the model must not rename them.
    id: _Id = Field(default_factory=lambda: str(uuid.uuid4()), alias="id")
    last_modified: int | None = Field(default=None, alias="last_modified")

    if TYPE_CHECKING:
        # A keyword of every constructor; the attribute is Resource's property.
        _permissions: Permissions | Mapping[str, Iterable[str]] = constructor_keyword(
            default_factory=dict, alias="permissions"
        )

        @property
        def modified_at(self) -> datetime | None:
            """`last_modified` as a datetime; no attribute of the class, so that a field may be."""

    __kinto_cache__: ClassVar[dict[Any, Any]]
    # The class keywords beside Pydantic's settings.
    __kinto_options__: ClassVar[frozenset[str]] = frozenset({"id_factory"})
    __kinto_kind__: ClassVar[str] = "record"
    # The field by which an object is got, and by which messages name it.
    __kinto_title__: ClassVar[str] = "id"
    # What a program wrote for `extra`; Pydantic always has "allow".
    __kinto_extra__: ClassVar[str | None] = None
    # Whether fields that are not declared are taken from outside.
    __kinto_open__: ClassVar[bool] = True
    # What the server writes into the data.
    __kinto_server_made__: ClassVar[frozenset[str]] = NOT_DATA
    # Fields whose lists have no order: two writers' changes are merged item by item.
    __kinto_sets__: ClassVar[frozenset[str]] = frozenset()
    # Fields that only `session.account()` knows: never sent, and kept whatever is loaded.
    __kinto_figures__: ClassVar[frozenset[str]] = frozenset()
    # Fields that are sent and can never be read again.
    __kinto_secrets__: ClassVar[frozenset[str]] = frozenset()
    # Ids to which the server answers with the real one.
    __kinto_aliases__: ClassVar[frozenset[str]] = frozenset()
    # Whether the server forbids to see an object that is not there.
    __kinto_hidden__: ClassVar[bool] = False
    # Whether the first write makes the collection, in any bucket, and reading makes nothing.
    __kinto_unmade__: ClassVar[bool] = False
    # Whether the server says how many there are.
    __kinto_says_total__: ClassVar[bool] = True
    # What the server needs for objects of this class.
    __kinto_capability__: ClassVar[str | None] = None
    __kinto_session__: ClassVar[Scope | None] = None
    # What tells its subclasses apart, where several are in one collection (models/kinds.py).
    __kinto_kinds__: ClassVar[Any] = None
    __kinto_id_factory__: ClassVar[Callable[[], str] | None] = None
    # What a constructor takes as a keyword and does not store.
    __kinto_keywords__: ClassVar[frozenset[str]] = frozenset({"permissions"})

    @classmethod
    def __kinto_configure__(cls, *, id_factory: Any = None, extra: Any = None) -> None:
        """Take the class keywords."""

    @property
    def __kinto_name__(self) -> str:
        """How messages call the object: "Todo 'x'"."""
        title = self.__dict__.get(self.__kinto_title__, self.id)
        return f"{type(self).__name__} {title!r}"

    @classmethod
    def __kinto_named__(cls, raw: Mapping[str, Any]) -> str:
        """How messages call what the server sent, and no object can be made of."""
        return f"{cls.__name__} {raw.get(cls.__kinto_title__, raw.get('id'))!r}"

    @classmethod
    def __kinto_id_of__(cls, title: str) -> str:
        """The id of the object whose `__kinto_title__` this is."""
        return title

    @classmethod
    def __kinto_class_to_make__(cls, given: Mapping[str, Any]) -> type[Self]:
        """The class of a new object with these fields."""
        kinds = cls.__kinto_kinds__
        return cls if kinds is None else kinds.class_to_make(cls, given)

    # What other acts ask of it; Resource does it.

    @classmethod
    @abstractmethod
    def __kinto_get__(cls, scope: Scope, id: str) -> Flow[Self]:
        """Fetch the object whose `__kinto_title__` this is."""

    @abstractmethod
    def __kinto_save__(
        self, given: Scope | None, *, force: bool = False, last_modified: int | None = None
    ) -> Flow[str]:
        """Create the object, or send what changed."""

    @abstractmethod
    def __kinto_delete__(
        self, given: Scope | None, *, missing_ok: bool = False, force: bool = False
    ) -> Flow[Any]:
        """Delete the object."""

    @abstractmethod
    def __kinto_refresh__(
        self, given: Scope | None, *, keep_changes: bool = False, whole: bool = False
    ) -> Flow[Self]:
        """Take the server's state."""

    @abstractmethod
    def __kinto_lives_in__(self) -> Scope:
        """Over which session it is reached."""

    @abstractmethod
    def __kinto_fetching_permissions__(self) -> Flow[Permissions]:
        """Read its permissions from the server."""

    @abstractmethod
    def __kinto_permitting__(self, permissions: Permissions, given: Scope | None) -> Flow[None]:
        """Send what changed of these, in a scope where the object lives."""

    @abstractmethod
    def __kinto_clearing_permissions__(self) -> Flow[None]:
        """Empty every list on the server."""

    @classmethod
    def __kinto_path__(cls, scope: Scope) -> str:
        """The path of the plural endpoint in a scope, "default" as it is.

        Raises:
            ConfigurationError: The scope does not say it.
        """
        raise ConfigurationError(f"{cls.__name__} is a base class; use Record, Bucket or another")

    @classmethod
    def __kinto_stored_in__(cls) -> tuple[str | None, ...]:
        """What the class says of where its objects are; two that say the same share a place."""
        return (cls.__kinto_kind__,)

    def __kinto_address__(self, given: Scope) -> tuple[str, str] | None:
        """Where it is written over a session: the plural path and the id; None: not known."""
        return None

    @classmethod
    def __kinto_path_of_copies__(cls, scope: Scope) -> str | None:
        """The plural path that a scope names more clearly than the class; None: the class's."""
        return None

    @classmethod
    def __kinto_placement__(cls, given: dict[str, Any]) -> str | None:
        """Take what says where the object lives from a constructor's keywords."""
        return None

    @classmethod
    def __kinto_check_names__(cls, given: Mapping[str, Any]) -> None:
        """Refuse what a constructor does not take."""
        refuse_undeclared(cls, given)

    def __kinto_check_place__(self) -> None:
        """Refuse to work with an object that lives nowhere."""

    def __kinto_check_save__(self, *, force: bool) -> None:
        """Refuse what must not be saved; `force` overwrites what is there."""

    def __kinto_check_delete__(self) -> None:
        """Refuse what cannot be deleted."""

    @classmethod
    def __kinto_told_apart__(cls) -> tuple[tuple[Any, ...], frozenset[str]]:
        """The conditions that only objects of this class meet, and the stored names to be read."""
        kinds = cls.__kinto_kinds__
        if kinds is None:
            return (), frozenset()
        return kinds.conditions(cls), frozenset({kinds.stored})

    @classmethod
    def __kinto_veil__(cls) -> Veil | None:
        """What hides its secret fields; None where it has none."""
        return veil_of(cls)

    @classmethod
    def __kinto_read__(cls, reply: Reply) -> Reply:
        """An answer about objects of this class, without what nobody should see."""
        return reply

    @classmethod
    def __kinto_refused__(cls, error: ResponseError) -> None:
        """Complete what a refusal says, and take out what nobody should see."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = guarded(cls, handler(source), handler)
        if has_secrets(cls):
            cls.model_config.setdefault("hide_input_in_errors", True)
        return schema

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return described(cls, schema, handler)
