"""Filters, pages and orders of Kinto, as SQL over the table of objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Any, NamedTuple

from kinto.core.storage import MISSING, Filter, Sort
from kinto.core.utils import COMPARISON

from kinto_orm.server.sqlite.values import MISSING_KEY, encode, key

_SIGNS = {
    COMPARISON.LT: "<",
    COMPARISON.MAX: "<=",
    COMPARISON.EQ: "=",
    COMPARISON.NOT: "<>",
    COMPARISON.MIN: ">=",
    COMPARISON.GT: ">",
    COMPARISON.IN: "IN",
    COMPARISON.EXCLUDE: "NOT IN",
}
_OR_EQUAL = {COMPARISON.LT: COMPARISON.MAX, COMPARISON.GT: COMPARISON.MIN}
_FALSE, _TRUE = "0", "1"
_LARGEST = 2**63 - 1
OBJECTS = "resources AS r JOIN objects AS o ON o.resource = r.key"


class Fields(NamedTuple):
    """What the two fields are called that have columns of their own, and which have an index."""

    id: str
    modified: str
    indexed: Set[str] = frozenset()


class Sql(NamedTuple):
    """A piece of SQL, and the values for its question marks."""

    text: str
    values: tuple[Any, ...] = ()


def all_of(filters: Iterable[Filter], fields: Fields) -> Sql:
    """Write a condition for the objects that fit all of the filters."""
    return _joined(" AND ", [condition(each, fields) for each in filters])


def any_rule(rules: Sequence[Sequence[Filter]], fields: Fields) -> Sql:
    """Write a condition for the objects that fit all filters of one of the rules of a page."""
    any_of = _joined(" OR ", [all_of(rule, fields) for rule in rules])
    begin = [condition(each, fields) for each in _beginning(rules)]
    return _joined(" AND ", [*begin, any_of])


def _beginning(rules: Sequence[Sequence[Filter]]) -> list[Filter]:
    """Say where a page begins in the order's first field, which follows from its rules.

    By this alone an index can be entered there.
    """
    field, value, operator = rules[-1][0]
    alike = [Filter(field, value, each) for each in (operator, COMPARISON.EQ)]
    if operator not in _OR_EQUAL or any(rule[0] not in alike for rule in rules):
        return []
    return [Filter(field, value, _OR_EQUAL[operator])]


def _joined(word: str, parts: Sequence[Sql]) -> Sql:
    text = word.join(f"({part.text})" for part in parts)
    return Sql(text, tuple(value for part in parts for value in part.values))


def column(field: str, indexed: Set[str] = frozenset()) -> Sql:
    """Write what a field compares by; what is missing is the greatest.

    SQLite finds an index by the very text of its expression, so that a field with one is named in
    it: in digits, by which no name of a field can become a part of the statement.
    """
    if field in indexed:
        return Sql(f"kinto_key(o.data, x'{field.encode().hex()}')")
    return Sql("kinto_key(o.data, ?)", (field,))


def order(sorting: Iterable[Sort], fields: Fields) -> Sql:
    """Write the order; objects without the field are the greatest."""
    own = {fields.id: Sql("o.id"), fields.modified: Sql("o.last_modified")}
    parts = []
    for each in sorting:
        text, values = own.get(each.field) or column(each.field, fields.indexed)
        parts.append(Sql(f"{text} {'ASC' if each.direction > 0 else 'DESC'}", values))
    text = ", ".join(part.text for part in parts)
    return Sql(text, tuple(value for part in parts for value in part.values))


def condition(wanted: Filter, fields: Fields) -> Sql:
    """Write the condition of one filter."""
    if wanted.field == fields.id:
        return _on_column("o.id", _texts(wanted))
    if wanted.field == fields.modified:
        return _on_column("o.last_modified", wanted)
    special = _SPECIAL.get(wanted.operator)
    return special(wanted, fields) if special else _compared(wanted, fields)


def _texts(wanted: Filter) -> Filter:
    """Ids are texts, also where one that looks like a number was read as such."""
    is_number = isinstance(wanted.value, int)
    return wanted._replace(value=str(wanted.value)) if is_number else wanted


def _on_column(column: str, wanted: Filter) -> Sql:
    """Compare with a column; it is never missing."""
    operator, value = wanted.operator, wanted.value
    if operator is COMPARISON.HAS:
        return Sql(_TRUE if value else _FALSE)
    if operator is COMPARISON.LIKE:
        return Sql(f"kinto_fits({column}, ?)", (_pattern(value),))
    if operator in (COMPARISON.CONTAINS, COMPARISON.CONTAINS_ANY):
        return Sql(_FALSE)
    if operator in (COMPARISON.IN, COMPARISON.EXCLUDE):
        return _among(column, operator, tuple(map(_fitting, value)))
    return Sql(f"{column} {_SIGNS[operator]} ?", (_fitting(value),))


def _fitting(value: Any) -> Any:
    """Cut off what no column can be: it compares the same."""
    return max(-_LARGEST, min(value, _LARGEST)) if isinstance(value, int) else value


def _among(column: str, operator: COMPARISON, values: tuple[Any, ...]) -> Sql:
    if not values:
        return Sql(_FALSE)
    marks = ", ".join("?" * len(values))
    return Sql(f"{column} {_SIGNS[operator]} ({marks})", values)


def _has(wanted: Filter, fields: Fields) -> Sql:
    text, values = column(wanted.field, fields.indexed)
    return Sql(f"{text} {'<' if wanted.value else '='} ?", (*values, MISSING_KEY))


def _like(wanted: Filter, _: Fields) -> Sql:
    return Sql("kinto_like(o.data, ?, ?)", (wanted.field, _pattern(wanted.value)))


def _pattern(value: Any) -> str:
    """Make a pattern for LIKE of one with stars; without any the text may stand anywhere."""
    text = str(value)
    return (text if "*" in text else f"*{text}*").replace("*", "%")


def _contains(wanted: Filter, _: Fields) -> Sql:
    needles = wanted.value if isinstance(wanted.value, list) else ()
    found = _joined(" AND ", [_mentioned(each) for each in needles if _is_plain(each)])
    tested = Sql("kinto_contains(o.data, ?, ?)", (wanted.field, encode(wanted.value)))
    return _joined(" AND ", [found, tested]) if found.text else tested


def _contains_any(wanted: Filter, _: Fields) -> Sql:
    return Sql("kinto_contains_any(o.data, ?, ?)", (wanted.field, encode(list(wanted.value))))


def _is_plain(value: Any) -> bool:
    """Whether a value is always written the same way; 1 and 1.0 are one number."""
    return value is None or isinstance(value, str | bool)


def _mentioned(value: Any) -> Sql:
    """Look for the value's text first: most objects need not be parsed then."""
    return Sql("instr(o.data, ?) > 0", (encode(value),))


def _compared(wanted: Filter, fields: Fields) -> Sql:
    """Compare a field with a value, or with several."""
    operator = wanted.operator
    text, values = column(wanted.field, fields.indexed)
    if operator in (COMPARISON.IN, COMPARISON.EXCLUDE):
        test = _among(text, operator, tuple(map(_key, wanted.value)))
        return Sql(test.text, (*values, *test.values) if test.values else ())
    test = Sql(f"{text} {_SIGNS[operator]} ?", (*values, _key(wanted.value)))
    is_seen = operator is COMPARISON.EQ and _is_plain(wanted.value)
    if is_seen and wanted.field not in fields.indexed:
        return _joined(" AND ", [_mentioned(wanted.value), test])
    return test


def _key(value: Any) -> bytes:
    return MISSING_KEY if value is MISSING else key(value)


_SPECIAL = {
    COMPARISON.HAS: _has,
    COMPARISON.LIKE: _like,
    COMPARISON.CONTAINS: _contains,
    COMPARISON.CONTAINS_ANY: _contains_any,
}


def glob(pattern: str) -> str:
    """Make a pattern of SQLite's GLOB of one in which only the star is special."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def resources(resource_name: str | None, parent_id: str) -> Sql:
    """Write the condition for lists; a star in the parent stands for any text."""
    if "*" in parent_id:
        text, values = "r.parent_id GLOB ?", (glob(parent_id),)
    else:
        text, values = "r.parent_id = ?", (parent_id,)
    if resource_name is None:
        return Sql(text, values)
    return Sql(f"{text} AND r.resource_name = ?", (*values, resource_name))


def where(
    resource_name: str | None,
    parent_id: str,
    fields: Fields,
    filters: Sequence[Filter] | None,
    rules: Sequence[Sequence[Filter]] | None = None,
    *,
    include_deleted: bool = False,
) -> Sql:
    """Write the condition for the objects of lists that fit filters and one rule of a page."""
    parts = [resources(resource_name, parent_id)]
    if not include_deleted:
        parts.append(Sql("NOT o.deleted"))
    if filters:
        parts.append(all_of(filters, fields))
    if rules:
        parts.append(any_rule(rules, fields))
    text = " AND ".join(f"({part.text})" for part in parts)
    return Sql(text, tuple(value for part in parts for value in part.values))


def selected(
    columns: str, condition: Sql, order: Sql, limit: int, objects: str = OBJECTS
) -> tuple[str, tuple[Any, ...]]:
    """Write the query for some objects, in order of their times when there is no other."""
    order = order if order.text else Sql("o.last_modified")
    text = f"SELECT {columns} FROM {objects} WHERE {condition.text} ORDER BY {order.text} LIMIT ?"
    return text, (*condition.values, *order.values, limit)
