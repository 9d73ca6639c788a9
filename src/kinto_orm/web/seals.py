"""What a form carries of the server's state, signed so that it comes back as it was."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any

from kinto_orm.web.refusals import Refused


class Seal:
    """Signs JSON values with a key that this process alone has."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def close(self, value: Any) -> str:
        """A text from which `open` makes the value again."""
        content = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
        return f"{self._signature(content)}.{content}"

    def open(self, text: str) -> Any:
        """The value that was sealed.

        Raises:
            Refused: It was changed, or sealed by another process.
        """
        signature, _, content = text.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(content).encode()):
            raise Refused(
                400,
                "This form is too old",
                "Nothing was changed. The page was started anew since it was loaded: go back, "
                "copy what you wrote, load the page again, and send it once more.",
            )
        return json.loads(base64.urlsafe_b64decode(content))

    @staticmethod
    def peek(text: str) -> Any:
        """What seems to be sealed, to be shown to whoever sent it; None where it cannot be read."""
        try:
            return json.loads(base64.urlsafe_b64decode(text.partition(".")[2]))
        except (ValueError, RecursionError):
            return None

    def _signature(self, content: str) -> str:
        return hmac.new(self._key, content.encode(), hashlib.sha256).hexdigest()
