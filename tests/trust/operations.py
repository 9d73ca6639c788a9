"""All operations: the rows of the table."""

from __future__ import annotations

from trust import keys, many, records  # noqa: F401  (each adds its own)
from trust.operation import OPERATIONS, Operation

__all__ = ["OPERATIONS", "Operation"]
