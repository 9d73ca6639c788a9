"""Load buckets, groups, collections, records and their permissions from a YAML file.

The job of `kinto-wizard load` (https://github.com/Kinto/kinto-wizard), which uses kinto-http, from
the same files. Fields that the file does not name stay as they are; a list of principals becomes
the one in the file. Of the server say KINTO_ORM_SERVER and KINTO_ORM_AUTH:

    python examples/load_tree.py --dry-run tree.yaml
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from kinto_orm import Bucket, Collection, Group, Record, Session, SyncChange, SyncPlan

Tree = dict[str, Any]


class Step(NamedTuple):
    """Objects of one class and place."""

    scope: Session
    model: type[Any]
    objects: list[Any]


def step(scope: Session, model: type[Any], nodes: Tree | None) -> Step:
    """Make the objects of a part of the tree; what the server makes itself is left out."""
    objects = []
    for id, node in (nodes or {}).items():
        data = dict((node or {}).get("data") or {}, id=id)
        data.pop("last_modified", None)
        objects.append(model(**data, permissions=(node or {}).get("permissions") or {}))
    return Step(scope, model, objects)


def steps(session: Session, tree: Tree, only: str | None) -> Iterator[Step]:
    """All objects of a tree, in the order in which they can be made."""
    for bucket, inside in tree["buckets"].items():
        if only in (None, bucket):
            inner = session.scoped(bucket=bucket)
            collections = inside.get("collections") or {}
            yield step(session, Bucket, {bucket: inside})
            yield step(inner, Group, inside.get("groups"))
            yield step(inner, Collection, collections)
            for name, each in collections.items():
                yield step(inner.scoped(collection=name), Record, (each or {}).get("records"))


def load(
    session: Session,
    tree: Tree,
    *,
    only: str | None = None,
    delete_records: bool = False,
    dry_run: bool = False,
) -> list[SyncPlan]:
    """Load a tree; nothing is written before all of it is known to be well formed."""
    plans, new = [], set[tuple[str | None, str | None]]()  # new: places that a dry run did not make
    for scope, model, objects in list(steps(session, tree, only)):
        if new & {(scope.bucket, None), (scope.bucket, scope.collection)}:
            changes = [SyncChange("create", each.id) for each in objects]
            plan = SyncPlan(len(changes), model=model.__name__, dry_run=True, changes=changes)
        else:
            missing = delete_records and model is Record and bool(objects)
            plan = scope.sync(model, objects, delete_missing=missing, dry_run=dry_run)
        made = [each.id for each in plan.changes if each.action == "create" and dry_run]
        new |= {(each, None) if model is Bucket else (scope.bucket, each) for each in made}
        plans.append(plan)
    return plans


def main(given: list[str] | None = None) -> int:
    """Load a file; the number of objects that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--bucket", help="load this bucket only")
    parser.add_argument("--delete-records", action="store_true", help="that the file has not")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(given)
    tree = yaml.safe_load(options.file.read_text())
    only, delete, dry_run = options.bucket, options.delete_records, options.dry_run
    with Session() as session:
        plans = load(session, tree, only=only, delete_records=delete, dry_run=dry_run)
    print(*plans, sep="\n")
    failures = [each for plan in plans for each in plan.failed]
    for each in failures:
        print(f"{type(each.target).__name__} {each.target.id}: {each.error}", file=sys.stderr)
    return len(failures)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
