"""What people write who know other mappers, and what is written here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import wraps
from inspect import Parameter, iscoroutinefunction, signature
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_NO_OFFSET = "pages(), and resume(page.position): Kinto has no offset"

OF_QUERIES: Mapping[str, str] = {
    "filter": "where(Todo.done == False)",
    "filter_by": "where(Todo.done == False)",
    "find": "where(Todo.done == False)",
    "exclude": "where(Todo.done != True)",
    "get": "the class's get(id), or where(...).one()",
    "offset": _NO_OFFSET,
    "skip": _NO_OFFSET,
    "sort": "order_by(Todo.title)",
    "create": "the class: Todo(title=...).save()",
    "to_list": "all()",
    "fetch": "all()",
    "fetchall": "all()",
    "scalars": "all()",
    "last": "order_by(col(Todo.title).desc()).first()",
    "scalar_one": "one()",
    "first_or_none": "first()",
    "one_or_none": "first()",
    "join": "prefetch(Todo.author): Kinto has no joins",
    "select_related": "prefetch(Todo.author): Kinto has no joins",
    "prefetch_related": "prefetch(Todo.author)",
    "values": "only(Todo.title)",
    "group_by": "a loop over the objects: Kinto counts, and computes nothing else",
    "aggregate": "a sum over the objects: Kinto counts, and computes nothing else",
}

# With {} for the name of the class.
OF_CLASSES: Mapping[str, str] = {
    "all": "{}.find().all()",
    "find_all": "{}.find().all()",
    "list": "{}.find().all()",
    "objects": "{}.find()",
    "query": "{}.find()",
    "select": "{}.find()",
    "filter": "{}.find(...), with conditions such as {}.id == 'x'",
    "filter_by": "{}.find(...), with conditions such as {}.id == 'x'",
    "where": "{}.find(...), with conditions such as {}.id == 'x'",
    "find_one": "{}.find(...).first(), or one()",
    "find_many": "{}.find(...)",
    "find_by_id": "{}.get(id)",
    "get_by_id": "{}.get(id)",
    "first": "{}.find().first()",
    "count": "{}.find().count()",
    "exists": "{}.find().exists()",
    "create": "{}(...).save()",
    "insert": "{}(...).save()",
    "insert_one": "{}(...).save()",
    "insert_many": "session.save_all(objects)",
    "bulk_create": "session.save_all(objects)",
    "update": "{}.patch(id, ...), or {}.find(...).update(...) for many",
    "update_one": "{}.patch(id, ...)",
    "update_many": "{}.find(...).update(...)",
    "update_or_create": "{}(id=..., ...).save(existing='update')",
    "delete_many": "{}.find(...).delete()",
    "delete_all": "{}.find().delete()",
}

OF_OBJECTS: Mapping[str, str] = {
    "insert": "save()",
    "create": "save()",
    "put": "save()",
    "commit": "save()",
    "save_changes": "save(), which sends what changed",
    "update": "assign(...), and save() it",
    "remove": "delete()",
    "destroy": "delete()",
    "reload": "refresh()",
    "refresh_from_db": "refresh()",
    "to_dict": "model_dump()",
    "as_dict": "model_dump()",
    "pk": "id",
}

_FIND = "session.find(Todo, Todo.done == False)"
_NOTHING = "nothing: save() has sent it"
_TOGETHER = "session.batch(), which sends several writes together: Kinto has no transactions"

OF_SESSIONS: Mapping[str, str] = {
    "query": _FIND,
    "select": _FIND,
    "exec": _FIND,
    "execute": _FIND,
    "scalars": _FIND,
    "filter": _FIND,
    "all": _FIND,
    "get_records": _FIND,
    "get_record": "session.get(Todo, id)",
    "get_or_create": "the class's: Todo.get_or_create(id, ...)",
    "add": "session.save(todo)",
    "insert": "session.save(todo)",
    "create": "session.save(todo)",
    "merge": "session.save(todo)",
    "create_record": "session.save(todo)",
    "update_record": "session.save(todo)",
    "patch_record": "the class's: Todo.patch(id, ...)",
    "delete_record": "session.delete(todo)",
    "add_all": "session.save_all(objects)",
    "bulk_save_objects": "session.save_all(objects)",
    "commit": _NOTHING,
    "flush": _NOTHING,
    "rollback": _TOGETHER,
    "begin": _TOGETHER,
    "transaction": _TOGETHER,
    "create_bucket": "Bucket(id=...).save()",
    "get_bucket": "Bucket.get(id)",
    "get_buckets": "Bucket.find()",
    "create_collection": "Collection(id=...).save()",
    "get_collection": "Collection.get(id)",
    "get_collections": "Collection.find()",
}

# Django's endings of keywords, with {} for the field.
_LOOKUPS: Mapping[str, str] = {
    "": "{} == ...",
    "exact": "{} == ...",
    "ne": "{} != ...",
    "gt": "{} > ...",
    "gte": "{} >= ...",
    "lt": "{} < ...",
    "lte": "{} <= ...",
    "in": "col({}).in_([...])",
    "contains": 'col({}).like("*...*")',
    "icontains": 'col({}).like("*...*")',
    "startswith": 'col({}).like("...*")',
    "istartswith": 'col({}).like("...*")',
    "endswith": 'col({}).like("*...")',
    "iendswith": 'col({}).like("*...")',
    "isnull": "{} == None",
}

# What is said of a verb that was given fields, and what the query ends in that finds by them.
_VERBS: Mapping[str, tuple[str, str]] = {
    "find": ("takes conditions, not fields as keywords:", ""),
    "where": ("takes conditions, not fields as keywords:", ""),
    "get": ("takes an id; to look for a field,", "one"),
    "get_or_none": ("takes an id; to look for a field,", "first"),
    "get_or_create": (
        "begins with an id, as in {}.get_or_create('its-id', ...), for no other field is unique "
        "in Kinto; to look for a field,",
        "first",
    ),
}


def advice(habits: Mapping[str, str], name: str, model: str = "Todo") -> str:
    """What to write for a name that other mappers have, such as "; write all()", or nothing."""
    return f"; write {habits[name].replace('{}', model)}" if name in habits else ""


def hinted(verb: F) -> F:
    """Let a verb that is given fields as keywords say which conditions to write.

    Args:
        verb: A method of a model or of a query, or one of a session whose first argument is a
            model.
    """
    if iscoroutinefunction(verb):

        async def awaited(*given: Any, **named: Any) -> Any:
            try:
                return await verb(*given, **named)
            except TypeError:
                _refuse_fields(verb, given, named)
                raise

        return _under_its_name(verb, awaited)

    def called(*given: Any, **named: Any) -> Any:
        try:
            return verb(*given, **named)
        except TypeError:
            _refuse_fields(verb, given, named)
            raise

    return _under_its_name(verb, called)


def _under_its_name(verb: F, hinting: Callable[..., Any]) -> F:
    # A verb on a session of the other kind is named by its frame, as in a traceback.
    hinting.__code__ = hinting.__code__.replace(co_name=verb.__name__)
    return cast("F", wraps(verb)(hinting))


def _refuse_fields(
    verb: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]
) -> None:
    """Say what to write, if the call did not begin because of fields that are keywords.

    Raises:
        TypeError: It says so.
        InvalidData: The model has no such field.
    """
    parameters = signature(verb).parameters.values()
    fields = named.keys() - {each.name for each in parameters if each.kind is not _MORE}
    if not fields or _begins(verb, given, named):
        return
    model = next((each for each in given[1::-1] if isinstance(each, type)), None) or given[0].model
    conditions = ", ".join(_condition(model, each) for each in named if each in fields)
    awaited, name = iscoroutinefunction(verb), verb.__name__
    said, ending = _VERBS[name.removeprefix("a") if name not in _VERBS else name]
    query = f"where({conditions})" if name == "where" else f"{model.__name__}.find({conditions})"
    if ending:
        query = f"await {query}.a{ending}()" if awaited else f"{query}.{ending}()"
    raise TypeError(f"{name}() {said.format(model.__name__)} write {query}") from None


_MORE = Parameter.VAR_KEYWORD


def _begins(verb: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Whether a function takes such arguments."""
    try:
        signature(verb).bind(*given, **named)
    except TypeError:
        return False
    return True


def _condition(model: Any, keyword: str) -> str:
    """The condition that a keyword stands for; the value is left out, for it may be secret.

    Raises:
        InvalidData: The model has no such field.
    """
    known: Collection[str] = model.__kinto_field_names__()
    name, _, lookup = (keyword, "", "") if keyword in known else keyword.partition("__")
    if name not in known:
        model.__kinto_check_stored_name__(name)
    shown = f"{model.__name__}.{name}" if name in model.model_fields else f"field({name!r})"
    return _LOOKUPS.get(lookup, f"col({{}})[{lookup!r}] == ...").format(shown)


class Hinting:
    """A session, which knows what its verbs are called elsewhere."""

    if not TYPE_CHECKING:  # checkers refuse these by themselves

        def __getattr__(self, name: str) -> NoReturn:
            if hasattr(type(self), name):  # a property that raised this error itself
                object.__getattribute__(self, name)
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
                f"{advice(OF_SESSIONS, name)}"
            )
