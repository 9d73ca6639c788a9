"""Any tree of kinds, any way of writing: what is stored and not declared by a hand survives."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from kinto_orm import Conflict, KintoError, Record, Session

KINDS = ("k0", "k1", "k2", "k3")


def tree_of(parents: list[int], declares: bool) -> dict[str, Any]:
    """Classes by kind, each below the base or one that came before."""

    class Base(Record, collection="things", discriminator="kind"):
        name: str = ""
        if declares:
            kind: str = ""

    classes: list[Any] = [Base]
    for kind, parent in zip(KINDS, parents, strict=True):
        namespace = {
            "__annotations__": {"kind": Literal[kind], f"of_{kind}": int},
            "__module__": __name__,
            "__qualname__": f"Of{kind}",
            "kind": kind,
            f"of_{kind}": 0,
        }
        above = classes[parent % len(classes)]
        classes.append(type(Record)(f"Of{kind}", (above,), namespace))
    return dict(zip(("", *KINDS), classes, strict=True))


def untyped(session: Session) -> None:
    """Somebody else writes, who knows no kinds."""
    Record.patch("x", unknown=[1], session=session.scoped(collection="things"))


def by_saving(session: Session, model: Any, kind: str, name: str) -> None:
    model(id="x", kind=kind, name=name).save(existing="update")


def by_bulk(session: Session, model: Any, kind: str, name: str) -> None:
    session.save_all([model(id="x", kind=kind, name=name)], existing="update")


def by_batch(session: Session, model: Any, kind: str, name: str) -> None:
    with session.batch() as batch:
        batch.save(model(id="x", kind=kind, name=name), existing="update")


def by_syncing(session: Session, model: Any, kind: str, name: str) -> None:
    session.sync(model, [{"id": "x", "kind": kind, "name": name}])


def by_patch(session: Session, model: Any, kind: str, name: str) -> None:
    model.patch("x", name=name)


def by_patch_of_the_kind(session: Session, model: Any, kind: str, name: str) -> None:
    model.patch("x", kind=kind, name=name)


def by_modify(session: Session, model: Any, kind: str, name: str) -> None:
    model.modify("x", lambda found: found.assign(name=name))


def by_query(session: Session, model: Any, kind: str, name: str) -> None:
    model.find().update(name=name)


def by_query_of_the_kind(session: Session, model: Any, kind: str, name: str) -> None:
    model.find().update(kind=kind, name=name)


def by_refresh(session: Session, model: Any, kind: str, name: str) -> None:
    found = model(id="x", kind=kind)
    found.refresh()
    assert not found.diff()
    found.name = name
    found.save()


def by_merging(session: Session, model: Any, kind: str, name: str) -> None:
    hand = model.get("x")
    untyped(session)
    hand.name = name
    try:
        hand.save()
    except Conflict as conflict:
        conflict.merge().save()


def by_get_or_create(session: Session, model: Any, kind: str, name: str) -> None:
    found, _ = model.get_or_create("x", kind=kind, name=name)
    found.name = name
    found.save()


def by_a_copy(session: Session, model: Any, kind: str, name: str) -> None:
    found = copy.deepcopy(model.get("x"))
    found.name = name
    found.save()


# A new object over what is there says all that its class declares, its defaults too.
RESETTING = [by_saving, by_bulk, by_batch, by_syncing]
# Which write whatever kind is there, as long as it is one of the class.
SURE = [by_patch, by_modify, by_query, by_merging, by_a_copy]
WAYS = [*RESETTING, *SURE, by_patch_of_the_kind, by_query_of_the_kind, by_refresh, by_get_or_create]

acts = st.tuples(st.sampled_from(WAYS), st.sampled_from(("", *KINDS)), st.sampled_from(KINDS))


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, 4), min_size=4, max_size=4),
    st.booleans(),
    st.sampled_from(KINDS),
    st.lists(acts, min_size=1, max_size=4),
)
def test_what_a_hand_does_not_declare_survives(
    parents: list[int], declares: bool, stored: str, acts: list[tuple[Any, str, str]]
) -> None:
    """And the kind: whoever writes, the object can be loaded as what it was."""
    classes = tree_of(parents, declares)
    model = classes[stored]
    own = [name for name in model.model_fields if name.startswith("of_")]
    with Session("memory://") as session:
        session.sync_schema(classes[""])
        model(id="x", name="first", **dict.fromkeys(own, 7)).save()
        untyped(session)
        kept = {7}
        for number, (act, by, kind) in enumerate(acts):
            before, name = classes[""].get("x"), f"name {number}"
            with suppress(KintoError, ValueError):
                act(session, classes[by], kind, name)
            found = classes[""].get("x")
            assert type(found) is model
            assert (found.kind, found["unknown"]) == (stored, [1])
            if act in RESETTING and kind == stored:
                kept = {7, 0}
            assert {found[each] for each in own} <= kept
            if act in SURE:
                its = issubclass(model, classes[by])
                assert found.name == (name if its else before.name)
