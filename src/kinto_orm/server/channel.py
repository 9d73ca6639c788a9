"""A connection to a port. Importing this module imports waitress."""

from __future__ import annotations

from typing import Any

from waitress.channel import HTTPChannel


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that closes its temporary files when it ends, however it ends.

    Waitress keeps bodies over 512 kB and answers over 1 MB in files. Those of a connection that
    ends in the middle are left to the garbage collector, which warns of them at any later time.
    """

    request: Any
    requests: list[Any]

    def close(self) -> None:
        """End the connection with all that belongs to it; called when the port is closed."""
        self.handle_close()

    def handle_close(self) -> None:
        """End the connection; called when the client has gone."""
        super().handle_close()
        with self.requests_lock:
            # The first is at work, or waits for a thread, and is closed by that.
            waiting, self.requests = self.requests[1:], self.requests[:1]
            if self.request is not None:
                waiting.append(self.request)
                self.request = None
        for each in waiting:
            each.close()

    def cancel(self) -> None:
        """End the connection whose first request no thread will take any more."""
        super().cancel()
        for each in self.requests:
            each.close()
