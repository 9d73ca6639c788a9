"""`doctor`: what is not in order, and what to do about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

from rich.text import Text
from typer import Argument, Context, Exit, Option

from kinto_orm import Record, Session, TransportError
from kinto_orm.cli.checks import Finding, Patient, findings
from kinto_orm.cli.failing import NO_ANSWER, REFUSED
from kinto_orm.cli.importing import models_named
from kinto_orm.cli.printing import Output
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.wording import said_of

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor(
    ctx: Context,
    models: Annotated[
        list[str] | None,
        Argument(metavar="MODULE:MODEL", help="Models whose schemas are compared, too"),
    ] = None,
    no_writes: Annotated[
        bool, Option("--no-writes", help="Leave out what is tried in a scratch bucket")
    ] = False,
) -> None:
    """Check the server, the login, the clocks and the schemas, and say what to do.

    Whether the server lets two writers overwrite each other is tried in a bucket of its own, which
    is deleted again. The exit status is 0 when all is well, 1 with problems, and 3 when the server
    does not answer.

    Examples:
        kinto-orm doctor --server https://kinto.example/v1
        kinto-orm doctor shop.models:Order shop.models:Customer
        kinto-orm doctor --no-writes --json | jq 'select(.state != "ok")'
    """
    settings = settings_of(ctx)
    named = [model for each in models or () for model in _named(each)]
    told = settings.resolved()
    output = settings.output
    with (
        told.opened() as session,
        Session(told.server, auth=told.auth, retry=None) as racing,
    ):
        has_auth = told.auth is not None
        patient = Patient(session, racing, has_auth, named, writes=not no_writes)
        status = _shown(output, patient)
    if status:
        raise Exit(status)


def _named(name: str) -> list[tuple[str, type[Record]]]:
    """The models that a name means, each with its own."""
    module = name.partition(":")[0]
    return [(f"{module}:{each.__name__}", each) for each in models_named(name)]


def _shown(output: Output, patient: Patient) -> int:
    """Print all findings; the exit status that they mean."""
    states: Counter[str] = Counter()
    try:
        for each in findings(patient):
            states[each.state] += 1
            _show(output, each)
    except TransportError as error:
        remedy = "is it running, is the URL right, and is there a way to it?"
        _show(output, Finding("server", "problem", said_of(error), remedy))
        return NO_ANSWER
    return REFUSED if states["problem"] else 0


def _show(output: Output, finding: Finding) -> None:
    if output.as_json:
        output.value(asdict(finding))
        return
    line = Text(f"{finding.state:8}", _STYLES[finding.state])
    line.append(f"{finding.check}: {finding.found}", "default")
    output.console.print(line)
    if finding.remedy:
        output.line(f"{'':8}-> {finding.remedy}")
