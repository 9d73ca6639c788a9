"""What queries need of a model; that is all they know of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope
from kinto_orm.wire.veils import Veil


class Findable(Protocol):
    """What a query needs of a model."""

    id: str

    @classmethod
    def __kinto_scope__(cls, given: Scope | None) -> Scope: ...
    @classmethod
    def __kinto_listing__(cls, given: Scope | None, plural: str | None) -> Flow[Any]: ...
    @classmethod
    def __kinto_field_names__(cls) -> set[str]: ...
    @classmethod
    def __kinto_veil__(cls) -> Veil | None: ...
    @classmethod
    def __kinto_names__(cls) -> dict[str, str]: ...
    @classmethod
    def __kinto_check_stored_name__(cls, stored: str) -> None: ...
    @classmethod
    def __kinto_assignment__(cls, values: Mapping[str, object]) -> Any: ...
    @classmethod
    def __kinto_links__(cls, found: Iterable[Any], names: Iterable[str]) -> list[Any]: ...
    @classmethod
    def __kinto_check_link__(cls, name: str) -> None: ...
    @classmethod
    def __kinto_check_compared__(cls, conditions: Iterable[Any], scope: Scope) -> Flow[None]: ...
    @classmethod
    def __kinto_check_unseen_deletion__(cls) -> None: ...
    @classmethod
    def __kinto_told_apart__(cls) -> tuple[tuple[Any, ...], frozenset[str]]: ...
