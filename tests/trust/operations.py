"""All operations: the rows of the table."""

from __future__ import annotations

from trust import (  # noqa: F401  (each adds its own)
    copies,
    dry,
    hooked,
    keys,
    linked,
    many,
    past,
    records,
    requests,
    structure,
    upserts,
)
from trust.operation import OPERATIONS, Operation

__all__ = ["OPERATIONS", "Operation"]
