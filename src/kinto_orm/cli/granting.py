"""`perms`: who may do what, in words."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Context, Option

from kinto_orm import Authenticated, Everyone, Forbidden, Session
from kinto_orm.cli.arguments import TargetText
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import tell
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import PERMISSIONS, Stored, model_of, single, target_of

_WORDS = {"everyone": Everyone, "authenticated": Authenticated}
_SAID = {Everyone: "everyone", Authenticated: "everybody who is logged in"}
Change = list[tuple[str, list[str]]]


def perms(
    ctx: Context,
    target: TargetText,
    grant: Annotated[
        list[str] | None, Option(metavar="NAME=WHO", help="read=ada; may be repeated")
    ] = None,
    revoke: Annotated[
        list[str] | None, Option(metavar="NAME=WHO", help="read=everyone; may be repeated")
    ] = None,
) -> None:
    """Show who may do what with an object, or change it.

    A permission is read, write, record:create (of a collection), collection:create or
    group:create (of a bucket). WHO is `everyone`, `authenticated` (everybody who is logged in),
    `me`, `group:NAME` in the same bucket, the name of an account, or a principal as the server
    writes it; several with commas between.

    Only what is granted and revoked is sent: what others grant meanwhile stays. Whoever may do
    something with a bucket may do it with all that is inside, without being named there.

    Examples:
        kinto-orm perms articles
        kinto-orm perms articles --grant read=everyone --grant write=ada,group:writers
        kinto-orm perms articles/first --revoke read=everyone
        kinto-orm perms articles --json
    """
    settings = settings_of(ctx)
    with settings.session() as session:
        wanted = single(target_of(target, session))
        model, scope = model_of(wanted, session)
        who = _Who(scope, PERMISSIONS[wanted.kind])
        granted, revoked = who.changes(grant), who.changes(revoke)
        found = scope.get(model, wanted.id or "")
        _change(found, granted, revoked)
        sets = _shown(found)
        if settings.as_json:
            settings.output.value({**sets})
            return
        names = dict.fromkeys((*PERMISSIONS[wanted.kind], *sets))
        rows = ([name, who.in_words(sets.get(name, ()))] for name in names)
        settings.output.table(rows, ("permission", "who"))


class _Who:
    """Says principals in words, and understands them.

    Args:
        scope: Whose server and bucket it is.
        names: The permissions that there are.
    """

    def __init__(self, scope: Session, names: tuple[str, ...]) -> None:
        self._scope = scope
        self._names = names

    def changes(self, given: list[str] | None) -> Change:
        """The permissions and principals that are given as NAME=WHO."""
        return [self._change(each) for each in given or ()]

    def _change(self, given: str) -> tuple[str, list[str]]:
        name, equals, who = given.partition("=")
        people = [each.strip() for each in who.split(",")]
        if not equals or not all(people):
            raise Misuse(f"{given!r} is no permission: write NAME=WHO, such as read=everyone")
        if name not in self._names:
            raise Misuse(f"there is no permission {name!r} here, but {', '.join(self._names)}")
        return name, [self._principal(each) for each in people]

    def _principal(self, who: str) -> str:
        kind, _, name = who.partition(":")
        if who in _WORDS:
            return _WORDS[who]
        if who == "me":
            return self._scope.account().id
        if kind == "group" and name:
            return f"/buckets/{self._scope.resolve_bucket()}/groups/{name}"
        if name or who.startswith(("/", "system.")):
            return who
        if "accounts" in self._scope.server_info().capabilities:
            return f"account:{who}"
        raise Misuse(
            f"this server has no accounts, so that {who!r} is nobody: write everyone, "
            "authenticated, me, group:NAME, or a principal such as that of `kinto-orm account`"
        )

    def in_words(self, principals: object) -> str:
        """Who they are."""
        found = sorted(principals) if isinstance(principals, list) else []
        return ", ".join(map(self._said, found)) or "nobody else"

    def _said(self, principal: str) -> str:
        if principal in _SAID:
            return _SAID[principal]
        if principal.startswith("/buckets/"):
            return f"the members of {principal}"
        user = self._scope.server_info().user or {}
        return f"you ({principal})" if principal == user.get("id") else principal


def _change(found: Stored, granted: Change, revoked: Change) -> None:
    """Send what is granted and revoked; nothing, where nothing is."""
    for name, people in granted:
        found.permissions.grant(name, *people)
    for name, people in revoked:
        found.permissions.revoke(name, *people)
    if granted or revoked:
        changed = found.permissions.is_changed
        found.permissions.save()
        tell("changed" if changed else "unchanged: it is so already")


def _shown(found: Stored) -> dict[str, Any]:
    """The principals by permission.

    Raises:
        Forbidden: The server does not show them.
    """
    if not found.permissions.is_loaded:
        raise Forbidden(
            f"the server shows the permissions of {found.uri} to those only who may write it"
        )
    return found.permissions.wanted()
