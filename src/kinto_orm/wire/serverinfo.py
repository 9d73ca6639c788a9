"""What a server says of itself on its root page."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from kinto_orm._shown import DescribedModel
from kinto_orm.wire.messages import Reply


class ServerInfo(DescribedModel, BaseModel):
    """What the server says of itself on its root page.

    Attributes:
        version: The version of the server's software.
        settings: What Kinto shows of its settings, `batch_max_requests` and `readonly` among them.
        capabilities: What its plugins offer, by plugin.
        user: The authenticated user: id, principals, bucket (the real id of the default
            bucket); None for the anonymous and after a wrong password.
    """

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    version: str = Field(default="", validation_alias="project_version")
    settings: dict[str, JsonValue] = {}
    capabilities: dict[str, JsonValue] = {}
    user: dict[str, JsonValue] | None = None


# What tells Kinto's root page from the JSON of another service.
_ROOT = ("project_version", "http_api_version", "settings", "capabilities", "user")


def read_root(reply: Reply) -> ServerInfo:
    """Read a root page.

    Raises:
        BadReply: It is none of a Kinto server.
    """
    # A null says as much as nothing, but for the plugins: every Kinto has some.
    page = {
        name: value
        for name, value in reply.json.items()
        if value is not None or name == "capabilities"
    }
    if not any(name in page for name in _ROOT) or _is_nameless(page.get("user")):
        raise reply.bad()
    try:
        return ServerInfo.model_validate(page)
    except ValidationError as error:
        wrong = ", ".join(str(each["loc"][0]) for each in error.errors(include_input=False))
        raise reply.bad(f"{reply.complaint()} What is wrong: {wrong}.") from None


def _is_nameless(user: object) -> bool:
    """Whether a root page speaks of a user without saying who it is."""
    if not isinstance(user, dict):
        return False
    id, bucket = user.get("id"), user.get("bucket", "")
    return not isinstance(id, str) or not id or not isinstance(bucket, str)
