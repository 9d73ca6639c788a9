"""`perms`: who may do what, in words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from typer import Context, Option

from kinto_orm import Authenticated, Everyone, Forbidden, Session
from kinto_orm.cli.arguments import TargetText
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import tell
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import (
    PERMISSIONS,
    Stored,
    Target,
    model_of,
    path_of,
    possible,
    real,
    single,
    target_of,
)

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
    with settings.session(reads=not (grant or revoke)) as session:
        wanted = single(target_of(target, session))
        model, scope = model_of(wanted, session)
        who = _Who(scope, PERMISSIONS[wanted.kind])
        granted = who.changes(grant, who.nobody_else)
        revoked = who.changes(revoke, who.whoever)
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

    def changes(self, given: list[str] | None, principal: Callable[[str], str]) -> Change:
        """The permissions and principals that are given as NAME=WHO.

        Args:
            given: What was typed.
            principal: What one of those means who stand behind the `=`.
        """
        return [self._change(each, principal) for each in given or ()]

    def _change(self, given: str, principal: Callable[[str], str]) -> tuple[str, list[str]]:
        name, equals, who = given.partition("=")
        people = [each.strip() for each in who.split(",")]
        if not equals or not all(people):
            raise Misuse(f"{given!r} is no permission: write NAME=WHO, such as read=everyone")
        if name not in self._names:
            raise Misuse(f"there is no permission {name!r} here, but {', '.join(self._names)}")
        return name, [principal(each) for each in people]

    def whoever(self, who: str) -> str:
        """Whom to take a permission from: what stands there may be nobody, and goes as well."""
        try:
            return self.nobody_else(who)
        except Misuse:
            if not who.startswith(("/", "system.")) and ":" not in who:
                raise
            return who

    def nobody_else(self, who: str) -> str:
        """Whom to give a permission to.

        Raises:
            Misuse: There can be no such principal.
        """
        kind, colon, name = who.partition(":")
        if who in _WORDS:
            return _WORDS[who]
        if who == "me":
            return self._scope.account().id
        if who.startswith("/"):
            return self._group(path_of(who))
        if kind == "group" and colon:
            return self._group(path_of(f"/buckets/{self._scope.bucket}/groups/{name}"))
        if who.startswith("system.") or "://" in who or (colon and not name):
            return _checked(who)
        if colon:
            return who
        if "accounts" in self._scope.server_info().capabilities:
            return f"account:{who}"
        raise Misuse(
            f"this server has no accounts, so that {who!r} is nobody: write everyone, "
            "authenticated, me, group:NAME, or a principal such as that of `kinto-orm account`"
        )

    def _group(self, named: Target) -> str:
        """A group's principal; of one in the personal bucket with the real id of that.

        Raises:
            Misuse: It is none.
        """
        if named.kind != "groups" or named.id is None:
            raise Misuse(
                f"{named} is no group, and nobody: write group:NAME, or /buckets/BUCKET/groups/NAME"
            )
        found = real(possible(named), self._scope)
        model, scope = model_of(found, self._scope)
        with suppress(Forbidden):  # who may not read it may name it
            if model.get_or_none(found.id or "", session=scope) is None:
                tell(f"there is no group {found} yet: nobody is in it until it is made")
        return str(found)

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


def _checked(who: str) -> str:
    """One of the two principals of the system.

    Raises:
        Misuse: It is none of them, or something else that is nobody.
    """
    if who in _SAID:
        return who
    if "://" in who:
        hint = "leave the server out, as in /buckets/BUCKET/groups/NAME"
    elif who.startswith("system."):
        hint = f"there are {' and '.join(sorted(_SAID))}: write everyone or authenticated"
    else:
        hint = f"a name is missing behind {who}"
    raise Misuse(f"{who!r} is nobody: {hint}")


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
