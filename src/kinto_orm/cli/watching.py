"""`watch`: the changes of a collection as they come."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Context, Option

from kinto_orm import Change, Created, Deleted, InvalidData
from kinto_orm.cli.arguments import TargetText
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import Output, Row, moment, tell
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import listed, model_of, target_of
from kinto_orm.cli.unfit import Unfit


def watch(
    ctx: Context,
    collection: TargetText,
    since: Annotated[
        str | None, Option(metavar="TOKEN", help="Go on after this change; as --json prints it")
    ] = None,
    everything: Annotated[bool, Option("--all", help="Print what is there already, too")] = False,
    interval: Annotated[float, Option(min=0.05, help="Seconds between two looks")] = 1.0,
) -> None:
    """Follow a collection: print each change as it comes, until Ctrl-C.

    What changes from now on is printed, or what has changed since --since. Nothing is missed; a
    record that changes twice between two looks comes once. At the end the token is said by which
    to go on. Ctrl-C is how it ends: the exit status is 0.

    Examples:
        kinto-orm watch todos
        kinto-orm watch todos --json | jq -r '.action + " " + .id'
        kinto-orm watch todos --since '[1795984521237,...]'
    """
    if since is not None and everything:
        raise Misuse("--since goes on somewhere, and --all begins at the beginning: give one")
    settings = settings_of(ctx)
    token = None
    try:
        with settings.session(reads=True) as session:
            model, scope = model_of(listed(target_of(collection, session), session), session)
            begin = since if since or everything else "now"
            unfit = Unfit()
            for change in unfit.kept(scope.find(model)).follow(begin, interval=interval):
                _show(settings.output, change, unfit)
                token = change.token
    except InvalidData:
        if since is None or token is not None:
            raise
        raise Misuse(f"{since!r:.200} is no token: give one that watch said, or --json") from None
    except KeyboardInterrupt:
        tell("stopped")
    finally:
        if token is not None:
            tell(f"go on with --since '{token}'")


def _show(output: Output, change: Change[Any], unfit: Unfit) -> None:
    """Print a change, at once: somebody waits for it."""
    data = None if change.object is None else unfit.data_of(change.object)
    action = _action(change)
    if output.as_json:
        told: Row = {
            "action": action,
            "id": change.id,
            "last_modified": change.last_modified,
            "object": data,
            "token": change.token,
        }
        output.rows([told], ())
    else:
        output.fields(moment(change.last_modified), action, change.id, data)
    output.flush()


def _action(change: Change[Any]) -> str:
    if isinstance(change, Deleted):
        return "deleted"
    return "created" if isinstance(change, Created) else "updated"
