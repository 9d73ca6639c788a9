"""Rendering in a process of its own, with limits that hold against any template.

A helper process is started once, by exec, with no environment and no open files of this one,
so that it holds nothing of the session: no credentials, no data. For each render it forks one
child, which takes limits upon itself, asks through a socket for the templates and for the values
that they name, and answers with the text. The helper watches the children: it tells how one
ended, and kills one whose caller has gone. When it ends itself, its children do.

Only a few children live at a time; other callers wait, in the order in which they came.

Linux only: it needs fork, resource limits and the passing of file descriptors.
"""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import asdict
from typing import Any

from kinto_orm.errors import (
    ConfigurationError,
    RenderLimit,
    TemplateError,
    TemplateSyntaxError,
    UndefinedVariable,
)
from kinto_orm.rendering.helper import Child, Helper, HelperGone, Shared, shared
from kinto_orm.rendering.limits import Limits
from kinto_orm.rendering.run import Load, Needs, Shelf, Values
from kinto_orm.rendering.sandbox import UndefinedMode
from kinto_orm.rendering.worker import receive, send

_ERRORS = (TemplateError, TemplateSyntaxError, UndefinedVariable, RenderLimit)
_ERROR_CLASSES = {kind.__name__: kind for kind in _ERRORS}


def render(load: Load, limits: Limits, name: str, values: Values, undefined: UndefinedMode) -> str:
    """Render in a child process; see `Renderer.render`.

    Raises:
        TemplateError: As the render in this process would.
        RenderLimit: Also for CPU time, memory and time by the clock.
        RenderBusy: No process was free in time.
        ConfigurationError: This is not Linux.
    """
    request: dict[str, Any] = {"act": "render", "name": name, "undefined": undefined}
    request["values"] = None if callable(values) else dict(values)
    return str(_asked(_Answers(load, limits, values), limits, request)["text"])


def needs(load: Load, limits: Limits, name: str) -> Needs:
    """Look into templates in a child process; see `Renderer.needs`; raises as `render` does."""
    found = _asked(_Answers(load, limits, {}), limits, {"act": "needs", "name": name})
    return _needs_of(found)


def check(load: Load, limits: Limits, name: str) -> None:
    """Compile in a child process; see `Renderer.check`; raises as `render` does."""
    _asked(_Answers(load, limits, {}), limits, {"act": "check", "name": name})


class _Answers:
    """Answers what a child asks for: templates, and values.

    Args:
        load: Gives a template.
        limits: How many.
        values: Gives the values.
    """

    def __init__(self, load: Load, limits: Limits, values: Values) -> None:
        self.shelf = Shelf(load, limits)
        self._values = values

    def __call__(self, message: dict[str, Any]) -> Any:
        """Give the answer to a question."""
        if "load" in message:
            found = self.shelf.get(message["load"])
            return found and asdict(found)
        return self.shelf.values(self._values, _needs_of(message["fetch"]))


def _needs_of(message: dict[str, Any]) -> Needs:
    return Needs(frozenset(message["names"]), message["everything"])


def _asked(answers: _Answers, limits: Limits, request: dict[str, Any]) -> dict[str, Any]:
    """Let a new child do something, and give its answer."""
    if shared is None:
        raise ConfigurationError(
            f"isolation='process' works on Linux only, this is {sys.platform};"
            " isolation='none' renders templates that you trust"
        )
    request = request | {"limits": asdict(limits)}
    with shared.place(limits.queue):
        for _ in range(3):
            helper = shared.get()
            try:
                return _ask(shared, helper, request, answers, limits)
            except HelperGone:
                shared.replace(helper)
    raise TemplateError("the rendering process cannot be started")


def _ask(
    processes: Shared, helper: Helper, request: dict[str, Any], answers: _Answers, limits: Limits
) -> dict[str, Any]:
    failure: TemplateError
    with processes.child(helper) as child:
        try:
            _begin(child, request, limits)
            return _accepted(_answered(child, answers, limits))
        except TimeoutError:
            failure = RenderLimit(f"time over {limits.wall:g} s")
        except (EOFError, ConnectionError):
            failure = _ending(child.end(), limits)
    raise failure


def _begin(child: Child, request: dict[str, Any], limits: Limits) -> None:
    """Wait until the child is there: only then its time begins."""
    child.channel.settimeout(limits.queue)
    try:
        send(child.channel, request)
        receive(child.channel, longest=64, until=time.monotonic() + limits.queue)
    except TimeoutError as error:
        raise HelperGone from error


def _answered(child: Child, answers: _Answers, limits: Limits) -> Any:
    longest = 12 * limits.output + 2**16
    until = time.monotonic() + limits.wall
    while True:
        message = receive(child.channel, longest=longest, until=until + answers.shelf.waited)
        if not message.keys() & {"load", "fetch"}:
            return message
        send(child.channel, answers(message))


def _accepted(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        kind = _ERROR_CLASSES[answer["error"]]
        raise kind(answer["message"], name=answer["name"], lineno=answer["lineno"])
    return answer


def _ending(code: int | None, limits: Limits) -> TemplateError:
    if code is None:
        raise HelperGone
    if code in (-signal.SIGPROF, -signal.SIGXCPU):
        return RenderLimit(f"CPU time over {limits.seconds:g} s")
    if code < 0:
        return RenderLimit(f"the rendering process was killed by {signal.Signals(-code).name}")
    return TemplateError(f"the rendering process ended with code {code}")
