"""The user's own models, by the names of their modules."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

from kinto_orm import Record
from kinto_orm.cli.failing import Misuse


def models_named(name: str) -> list[type[Record]]:
    """The models that a name means, imported from the current directory or what is installed.

    Args:
        name: `module:Model`, or `module:One,Other`.

    Raises:
        Misuse: There is no such module or model, or it cannot be imported.
    """
    module_name, _, wanted = name.partition(":")
    if not wanted or not all(each.isidentifier() for each in module_name.split(".")):
        raise Misuse(f"{name!r} names no model: write MODULE:MODEL, such as todo.models:Todo")
    module = _imported(module_name)
    return [_model(module, module_name, each.strip()) for each in wanted.split(",")]


def _imported(name: str) -> object:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise Misuse(
                f"there is no module {error.name!r} in {here}, nor is one of that name installed"
            ) from None
        raise Misuse(f"{name} cannot be imported: {_own_line(error)}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever the user's module raises)
        raise Misuse(f"{name} cannot be imported: {_own_line(error)}") from None


def _own_line(error: BaseException) -> str:
    """What went wrong, and the line of the user's in which it did."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return said
    own = [each for each in traceback.extract_tb(error.__traceback__) if _is_own(each.filename)]
    return f"{said}\n  {own[-1].filename}, line {own[-1].lineno}: {own[-1].line}" if own else said


def _is_own(file: str) -> bool:
    """Whether a file is one of the user's, and no part of Python or a library."""
    return not file.startswith("<") and os.path.realpath(file).startswith(
        os.path.realpath(os.getcwd()) + os.sep
    )


def _model(module: object, module_name: str, name: str) -> type[Record]:
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, Record):
        return found
    what = "has no" if found is None else "has something else than a model of records as"
    raise Misuse(f"{module_name} {what} {name!r}")
