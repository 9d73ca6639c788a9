"""`load`: what a dump has, to a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import JsonValue
from rich.progress import Progress
from typer import Argument, Context, Exit, Option

from kinto_orm import Everyone, Session, TransportError
from kinto_orm.cli.dumps import sources
from kinto_orm.cli.dumps.comparing import Comparing
from kinto_orm.cli.dumps.entries import Parts
from kinto_orm.cli.dumps.files import FORMATS, format_of, read
from kinto_orm.cli.dumps.loading import Done, Loading
from kinto_orm.cli.failing import REFUSED, Misuse
from kinto_orm.cli.printing import Output
from kinto_orm.cli.progress import progress_bars, say
from kinto_orm.cli.settings import settings_of

_FORMATS = ", ".join(FORMATS)
_SIGNS = {"created": "+", "updated": "~", "deleted": "-"}
_COUNTED = ("created", "updated", "unchanged", "deleted", "failed")


def load(
    ctx: Context,
    file: Annotated[Path, Argument(metavar="FILE", help="The file; - reads standard input")],
    format: Annotated[str | None, Option(help=f"One of {_FORMATS}; by the file's name")] = None,
    only: Annotated[
        list[str] | None, Option(help="Some of attributes, groups, records, permissions")
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Only print what would be done")] = False,
    delete_missing: Annotated[
        bool, Option("--delete-missing", help="Delete records that the file does not have")
    ] = False,
    force: Annotated[
        bool, Option("--force", help="Overwrite what is newer than the version in the file")
    ] = False,
    cut: Annotated[bool, Option("--cut", help="Load a file that has no end, too")] = False,
    whole: Annotated[
        bool, Option("--whole", help="The file has all, with --delete-missing; a CSV cannot say so")
    ] = False,
    workers: Annotated[int, Option(min=1, help="How many connections write at a time")] = 2,
) -> None:
    """Load a dump; what is there and equal is left alone, so that it may be run again.

    Examples:
        kinto-orm load blog.ndjson --server https://kinto.example/v1
        kinto-orm load articles.csv --bucket blog --collection articles --dry-run
        zcat blog.ndjson.gz | kinto-orm load -
    """
    settings, path = settings_of(ctx), None if str(file) == "-" else file
    parts = Parts.named(only or ())
    if delete_missing and not parts.data_of("records"):
        raise Misuse("--delete-missing deletes records, and --only leaves them out")
    if delete_missing and cut:
        raise Misuse("--delete-missing would delete what is missing only because the file was cut")
    with (
        read(path) as opened,
        settings.session(makes=not dry_run, plans=dry_run) as session,
        progress_bars(shown=not dry_run) as progress,
    ):
        comparing = Comparing(parts, force, _me(session))
        report = _Report(settings.output, progress, dry_run)
        loading = Loading(session, parts, comparing, report, dry_run, workers)
        loading.ids = {} if delete_missing else None
        source = sources.opened(opened, format_of(format, path), session, cut=cut)
        if delete_missing and not source.parts.data_of("records"):
            raise Misuse(
                "--delete-missing: the dump is one without records, so that none is missing"
            )
        if delete_missing and not (source.is_whole or whole):
            raise Misuse(
                "--delete-missing deletes what the file does not have, and nothing in this file "
                "says that it is whole: look at its end, and give --whole. Nothing was done"
            )
        progress.add_task(f"load {file}", total=source.total)
        with _told(report, loading):
            loading.run(sources.chosen(source, settings.bucket, settings.collection, session))
    if loading.counts["failed"]:
        raise Exit(REFUSED)


@contextmanager
def _told(report: _Report, loading: Loading) -> Iterator[None]:
    """Tell at the end what became of the objects, however it ends."""
    try:
        yield
    except BaseException as error:
        if loading.counts:
            report.end(loading)
        if isinstance(error, KeyboardInterrupt | TransportError):
            say(report.progress, "run the same command again: it goes on where this one ended")
        raise
    else:
        report.end(loading)


def _me(session: Session) -> str:
    """The principal of the user; everybody where nobody is logged in."""
    user = session.server_info().user or {}
    return str(user.get("id", Everyone))


@dataclass(frozen=True, slots=True)
class _Report:
    """Tells what becomes of objects.

    Attributes:
        output: Where to say what would be done.
        progress: Has a bar.
        dry_run: Whether nothing is done.
    """

    output: Output
    progress: Progress
    dry_run: bool

    def __call__(self, done: Done) -> None:
        """Tell what became of an object."""
        for task in self.progress.task_ids:
            self.progress.advance(task)
        if done.error is not None:
            say(self.progress, f"kinto-orm: {done}")
        elif self.dry_run and done.status in _SIGNS:
            self._would(done)

    def _would(self, done: Done) -> None:
        if self.output.as_json:
            told: JsonValue = {
                "action": done.status,
                "uri": str(done.target),
                "fields": list(done.fields),
            }
            self.output.value(told)
        else:
            said = f": {', '.join(done.fields)}" if done.fields else ""
            self.output.line(f"{_SIGNS[done.status]} {done.target}{said}")

    def end(self, loading: Loading) -> None:
        """Tell how many objects became what."""
        counts = {name: loading.counts[name] for name in _COUNTED if loading.counts[name]}
        try:
            if self.output.as_json and not self.dry_run:
                self.output.value({name: loading.counts[name] for name in _COUNTED})
        finally:  # done it is, whether or not it can be printed
            self._say(counts, loading)

    def _say(self, counts: dict[str, int], loading: Loading) -> None:
        said = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing there"
        say(self.progress, f"{said} (a dry run: nothing was written)" if self.dry_run else said)
        if loading.ids is not None and loading.counts["failed"] and not loading.deletes:
            say(self.progress, "nothing was deleted, because something failed")
