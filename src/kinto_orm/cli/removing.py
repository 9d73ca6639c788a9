"""`rm`: objects deleted, and what is inside of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Annotated, Any

import typer
from typer import Argument, Context, Exit, Option

from kinto_orm import Interrupted, InvalidData, NotFound, Session
from kinto_orm.cli import completing
from kinto_orm.cli.arguments import TARGET_HELP
from kinto_orm.cli.failing import REFUSED, Misuse, failure_of
from kinto_orm.cli.printing import complain, tell
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import Stored, Target, inside_of, model_of, real, target_of
from kinto_orm.cli.unfit import is_unfit

_AT_ONCE = 100


def rm(
    ctx: Context,
    target: Annotated[
        list[str],
        Argument(
            metavar="TARGET",
            help=f"{TARGET_HELP}; - reads them, one a line",
            autocompletion=completing.targets,
        ),
    ],
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask")] = False,
    force: Annotated[
        bool, Option("--force", help="Delete what somebody else has changed meanwhile, too")
    ] = False,
) -> None:
    """Delete objects.

    It asks before it deletes a bucket or a collection that is not empty, with all that is inside.
    --yes says yes; where nobody can be asked, it has to be given. A path that ends in /records
    means all records of a collection, which itself stays. All buckets of a server are
    not deleted at once: name them one by one.

    What is not there, or was changed meanwhile, is said at the end with the exit status 1; the
    others are deleted. What the history has can be brought back: kinto-orm restore.

    Examples:
        kinto-orm rm todos/first todos/second
        kinto-orm rm todos --yes
        kinto-orm rm /buckets/blog/collections/todos/records
        kinto-orm find todos 'done=true' --json | jq -r '"todos/" + .id' | kinto-orm rm -
    """
    settings = settings_of(ctx)
    with settings.session() as session:
        for each in target:
            _refuse_all_buckets(each, session)
        removal = Removal(session, yes=yes, force=force)
        with told(removal):
            for kind, targets in groupby(_targets(target, session), _where):
                removal.of(kind, targets)
    if removal.status:
        raise Exit(removal.status)


@contextmanager
def told(removal: Removal) -> Iterator[None]:
    """Tell at the end how many were deleted, however it ends."""
    try:
        yield
    finally:
        tell(f"deleted {removal.deleted}")
        if removal.unknown:
            tell(
                f"of {removal.unknown} more the deletion was begun, and nobody knows what "
                "became of them: look with kinto-orm ls what is there"
            )


class Removal:
    """Deletes what lives in one place together, and counts it.

    Attributes:
        deleted: How many objects are gone; without what was inside of them.
        unknown: Of how many the deletion was asked for, and has no answer yet.
        status: The exit status.
    """

    def __init__(self, session: Session, *, yes: bool, force: bool) -> None:
        self._session = session
        self._yes = yes
        self._force = force
        self.deleted = 0
        self.unknown = 0
        self.status = 0

    def of(self, plural: Target, targets: Iterable[Target]) -> None:
        """Delete objects that live in one place."""
        model, scope = model_of(plural, self._session)
        rest = iter(targets)
        while chunk := list(islice(rest, _AT_ONCE)):
            ids = [each.id for each in chunk if each.id is not None]
            if len(ids) < len(chunk):
                self._all_of(plural, scope.find(model))
            self._some_of(model, scope, dict.fromkeys(ids))

    def _all_of(self, plural: Target, found: Any) -> None:
        count = found.count()
        if count and self._may(
            f"delete all {count} {plural.kind} of {plural.parent or 'the server'}"
        ):
            self.unknown = count
            self.deleted += found.delete()
            self.unknown = 0

    def _some_of(self, model: type[Stored], scope: Session, ids: Iterable[str]) -> None:
        there = _there(model, scope, [*ids])
        for id in ids:
            if id not in there:
                self._failed(NotFound(f"there is no {model.__name__} {id!r} to be deleted"))
        wanted = [each for each in there.values() if self._is_meant(each)]
        self.unknown = len(wanted)
        try:
            summary = scope.delete_all(wanted, force=self._force)
        except Interrupted as interrupt:
            self.deleted += interrupt.summary.deleted
            self.unknown -= interrupt.summary.total
            raise
        self.unknown = 0
        self.deleted += summary.deleted
        for failure in summary.failed:
            self._failed(failure.error)

    def _is_meant(self, found: Stored) -> bool:
        inside = _inside(found)
        return not inside or self._may(f"delete {found.uri} with its {inside}")

    def _may(self, act: str) -> bool:
        """Whether something is to be done; whoever can be asked is."""
        if self._yes:
            return True
        if not sys.stdin.isatty():
            raise Misuse(f"this would {act}: give --yes. It was not done")
        agreed = typer.confirm(f"Really {act}?", err=True)
        if not agreed:
            complain("not deleted")
            self.status = max(self.status, REFUSED)
        return agreed

    def _failed(self, error: Exception) -> None:
        status = failure_of(error)
        if status is None:
            raise error
        self.status = max(self.status, status)


def _there(model: type[Stored], scope: Session, ids: list[str]) -> dict[str, Stored]:
    """Objects by their ids; what cannot be loaded, without its data."""
    try:
        return scope.get_many(model, ids)
    except InvalidData as error:
        if not is_unfit(error):
            raise
    if len(ids) == 1:
        return {each.id: each for each in scope.find(model, model.id == ids[0]).only("id")}
    half = len(ids) // 2
    return _there(model, scope, ids[:half]) | _there(model, scope, ids[half:])


def _inside(found: Stored) -> str:
    """What is inside of an object, in words; nothing for an empty one."""
    counts = {name: each.count() for name, each in inside_of(found).items()}
    return " and ".join(f"{count} {name}" for name, count in counts.items() if count)


def _targets(given: list[str], session: Session) -> Iterator[Target]:
    for each in given:
        if each == "-":
            lines = (line.strip() for line in sys.stdin)
            for line in filter(None, lines):
                _refuse_all_buckets(line, session)
                yield real(target_of(line, session), session)
        else:
            yield real(target_of(each, session), session)


def _refuse_all_buckets(text: str, session: Session) -> None:
    """Refuse what means all buckets: their history would go with them, and nothing bring it back.

    Raises:
        Misuse: It means all buckets.
    """
    if text != "-" and target_of(text, session).steps == (("buckets", None),):
        raise Misuse(
            f"{text} means all buckets of the server, with their history: they are not deleted at "
            "once. Name them one by one: kinto-orm rm /buckets/NAME. Nothing of them was deleted"
        )


def _where(target: Target) -> Target:
    """All of the kind that live where a target lives."""
    return Target((*target.steps[:-1], (target.kind, None)))
