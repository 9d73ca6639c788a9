"""Writing the Python code of a template, and collecting meanwhile what the template refers to."""

from __future__ import annotations

import io
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.idtracking import VAR_LOAD_RESOLVE

from kinto_orm.errors import RenderLimit
from kinto_orm.rendering.run import VALUES


class Generator(CodeGenerator):
    """Writes the Python code of a template and evaluates nothing meanwhile.

    Jinja2 calculates constants while it compiles, so `{{ 9**(9**9) }}` would never end there.

    Attributes:
        found: The names that Jinja2's own scoping leaves to the values.
    """

    _written = 0
    _called: nodes.Expr | None = None
    # The sandbox, which is built on this.
    environment: Any

    def __init__(self, env: Any, name: str) -> None:
        self._code = io.StringIO()
        super().__init__(env, name, None, self._code, optimized=False)
        self.found: set[str] = set()

    def generate(self, tree: nodes.Template) -> str:
        """Give the code of a template."""
        self.visit(tree)
        return self._code.getvalue()

    def write(self, x: str) -> None:
        """Add code, within a limit that follows from that of the source."""
        self._written += len(x)
        if self._written > 25 * self.environment.limits.source:
            raise RenderLimit("the template compiles to too much code")
        super().write(x)

    def buffer(self, frame: Frame) -> None:
        """Begin the text of a macro or a block, which is limited too."""
        frame.buffer = self.temporary_identifier()
        self.writeline(f"{frame.buffer} = environment.buffer()")

    def enter_frame(self, frame: Frame) -> None:
        """Begin a body; that of a loop looks at the time first."""
        super().enter_frame(frame)
        loads = frame.symbols.loads.values()
        self.found.update(name for act, name in loads if act == VAR_LOAD_RESOLVE and name)
        if frame.loop_frame:
            self.writeline("environment.tick()")

    def _output_child_to_const(
        self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo
    ) -> str:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        """Write `a ~ b`."""
        self.write("environment.joined(context, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Call(  # noqa: N802
        self, node: nodes.Call, frame: Frame, forward_caller: bool = False
    ) -> None:
        """Write `f(x)`, where `f` is looked for among what can be called."""
        self._called = node.node
        super().visit_Call(node, frame, forward_caller=forward_caller)

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:  # noqa: N802
        """Write a name; one that is called is Jinja2's function, whatever is stored under it."""
        called = node is self._called and node.name in self.environment.globals
        self.write(f"environment.function({node.name!r}, " if called else "")
        super().visit_Name(node, frame)
        self.write(")" if called else "")

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802
        """Write `a.b`, which `a.b()` looks up in another way."""
        if node is self._called:
            self._write_lookup("method", node.node, nodes.Const(node.attr), frame)
        elif self._is_values(node.node, frame):
            self._write_lookup("root_attribute", node.node, nodes.Const(node.attr), frame)
        else:
            super().visit_Getattr(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        """Write `a[b]`."""
        if self._is_values(node.node, frame) and not isinstance(node.arg, nodes.Slice):
            self._write_lookup("root_item", node.node, node.arg, frame)
        else:
            super().visit_Getitem(node, frame)

    def _write_lookup(self, how: str, node: nodes.Expr, key: nodes.Expr, frame: Frame) -> None:
        self.write(f"environment.{how}(")
        self.visit(node, frame)
        self.write(", ")
        self.visit(key, frame)
        self.write(")")

    def _is_values(self, node: nodes.Expr, frame: Frame) -> bool:
        """Tell whether this is the name of all values, and no variable of the template."""
        if not isinstance(node, nodes.Name) or node.name != VALUES:
            return False
        load = frame.symbols.find_load(frame.symbols.ref(VALUES))
        return load is not None and load[0] == VAR_LOAD_RESOLVE

    def visit_EvalContextModifier(  # noqa: N802
        self, node: nodes.EvalContextModifier, frame: Frame
    ) -> None:
        """Write `{% autoescape %}`, whose argument Jinja2 would calculate here."""
        for option in node.options:
            self.writeline(f"context.eval_ctx.{option.key} = ")
            self.visit(option.value, frame)
            if isinstance(option.value, nodes.Const):
                setattr(frame.eval_ctx, option.key, option.value.value)
            else:
                frame.eval_ctx.volatile = True
