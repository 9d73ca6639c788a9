"""How commands are found: options before or after them, errors as exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from typer import Exit
from typer.core import TyperCommand, TyperGroup

from kinto_orm.cli.failing import failure_of

_EXAMPLES = "Examples:\n"
_EVERYWHERE = "--server, --auth, --bucket, --json and the like may stand here: kinto-orm --help"
_OF_ITS_OWN = "--json may stand here; --server and --profile may not: it starts a server of its own"


class Command(TyperCommand):
    """A command, whose help ends with the examples of its docstring, line by line as they are."""

    end = _EVERYWHERE

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what stands before the examples."""
        whole, self.help = self.help, self._parts()[0]
        super().format_help_text(ctx, formatter)
        self.help = whole

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        examples = self._parts()[1]
        if examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line.strip()}\n" for line in examples.splitlines()))
        formatter.write(f"\n{self.end}\n")

    def _parts(self) -> tuple[str, str]:
        text, _, examples = (self.help or "").partition(_EXAMPLES)
        return text.strip(), examples.strip()


class ServerCommand(Command):
    """One that starts a server, and asks none."""

    end = _OF_ITS_OWN


class Commands(TyperGroup):
    """The commands of `kinto-orm`: the options of the program may stand behind them, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the program's options in front, wherever they stand before `--`."""
        mine, others = self._parted(args)
        return super().parse_args(ctx, [*mine, *others])

    def _parted(self, args: list[str]) -> tuple[list[str], list[str]]:
        """The program's own options, and all else."""
        takes_value = dict(self._options())
        mine: list[str] = []
        others: list[str] = []
        rest = iter(args)
        for each in rest:
            if each == "--":
                others += ["--", *rest]
            elif each.partition("=")[0] not in takes_value:
                others.append(each)
            else:
                mine.append(each)
                if takes_value[each.partition("=")[0]] and "=" not in each:
                    mine += [value for value in [next(rest, None)] if value is not None]
        return mine, others

    def _options(self) -> Iterator[tuple[str, bool]]:
        """The names of the program's options, and whether a value follows."""
        for param in self.params:
            if param.name not in ("version", "install_completion", "show_completion"):
                for name in param.opts:
                    yield name, not getattr(param, "is_flag", False)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what goes wrong is told in a line, and by the exit status."""
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            status = failure_of(error)
            if status is None:
                raise
            raise Exit(status) from None
        return done
