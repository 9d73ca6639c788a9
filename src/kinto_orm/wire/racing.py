"""How long to wait before a race is run again that another writer has won."""

from __future__ import annotations

import random
import time

_LONGEST = 1.0


def race_pause(attempt: int, began: float) -> float:
    """Seconds to wait before reading and writing again.

    Args:
        attempt: 0 after the first run.
        began: When the last one began, by `time.monotonic()`.
    """
    # Measured by its own length: on a slow server the others need longer, too.
    longest = min(_LONGEST, (time.monotonic() - began) * 2 ** min(attempt, 10))
    return random.uniform(0, longest)  # noqa: S311
