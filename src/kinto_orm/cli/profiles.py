"""The profile file: several servers by name, with who one is there."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Self

import tomlkit
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from kinto_orm.cli.failing import Misuse


class Profile(BaseModel):
    """A server, who one is there, and the default bucket and collection.

    Attributes:
        server: Its URL, as a Session takes it.
        auth: "user:password", or "Bearer token".
        bucket: The default bucket's id.
        collection: The default collection's id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str
    auth: SecretStr | None = None
    bucket: str | None = None
    collection: str | None = None

    def is_of(self, server: str) -> bool:
        """Whether it is of this server."""
        return self.server.rstrip("/") == server.rstrip("/")


class Profiles:
    """What the profile file says; `~/.config/kinto-orm.toml`, or the variable KINTO_ORM_CONFIG.

    Args:
        path: Where it is.
        named: The profiles by name.
        default: The name of the one that is taken when none is named.
    """

    def __init__(self, path: Path, named: dict[str, Profile], default: str | None) -> None:
        self.path = path
        self.named = named
        self.default = default

    @classmethod
    def read(cls) -> Self:
        """Read the file; one that is not there says nothing.

        Raises:
            Misuse: It cannot be read, others may read the passwords in it, or it is not TOML of
                this form.
        """
        path = profile_path()
        try:
            told = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(path, {}, None)
        except (OSError, ValueError) as error:
            raise Misuse(f"the profiles in {path} cannot be read: {error}") from None
        default = told.pop("default", None)
        named = {name: _profile(path, name, value) for name, value in told.items()}
        if any(each.auth for each in named.values()):
            _check_mode(path)
        if default is not None and default not in named:
            raise Misuse(f"{path} names the default {default!r}, and has no profile of that name")
        return cls(path, named, default)

    def get(self, name: str) -> Profile:
        """The profile of this name.

        Raises:
            Misuse: There is none.
        """
        if name not in self.named:
            known = ", ".join(sorted(self.named)) or "none"
            raise Misuse(f"no profile {name!r} in {self.path}; there is: {known}")
        return self.named[name]

    def of_server(self, server: str) -> Profile | None:
        """The profile of a server, for who one is there."""
        same = (
            each for each in self.named.values() if each.server.rstrip("/") == server.rstrip("/")
        )
        return next(same, None)

    def keep(self, name: str, profile: Profile) -> None:
        """Write a profile into the file, for the owner's eyes only; the first is the default."""
        document = tomlkit.parse(self.path.read_text("utf-8") if self.path.exists() else "")
        document.setdefault("default", name)
        table = tomlkit.table()
        for field, value in profile.model_dump(exclude_none=True).items():
            table[field] = value.get_secret_value() if field == "auth" else value
        document[name] = table
        _write_privately(self.path, tomlkit.dumps(document))


def profile_path() -> Path:
    """Where the profile file is."""
    given = os.environ.get("KINTO_ORM_CONFIG")
    return Path(given) if given else Path.home() / ".config" / "kinto-orm.toml"


def _profile(path: Path, name: str, value: object) -> Profile:
    try:
        return Profile.model_validate(value)
    except ValidationError as error:
        # Not the values: one may be a password.
        wrong = ", ".join(
            f"{'.'.join(map(str, each['loc'])) or name}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False)
        )
        raise Misuse(f"the profile {name!r} in {path} is not right: {wrong}") from None


def _check_mode(path: Path) -> None:
    """Refuse passwords that others may read, as ssh does."""
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Misuse(f"others may read the passwords in {path}: chmod 600 {path}")


def _write_privately(path: Path, text: str) -> None:
    """Write a file that only its owner may read; a crash leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with open(
        os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    new.replace(path)
