"""A Kinto plugin that serves kvp.io's REST API over Kinto's own records.

Switch it on in Kinto's settings:

```ini
kinto.includes = kinto.plugins.default_bucket kinto_orm.server.kvp
multiauth.policies = basicauth
kinto.kvp_api_keys = 3f9c0d7e a81b22c4
```

| setting | meaning |
|---|---|
| `kinto.kvp_api_keys` | the API keys that are known, with spaces or new lines between them |
| `kinto.kvp_bucket` | the bucket that holds the data; not given: each account's default bucket |
| `kinto.kvp_undefined` | what a value that is not there does to a template |
| `kinto.kvp_patience` | seconds for which a render waits for its turn; not given: 20 |

`kinto.kvp_undefined` is `strict`, the default: the render is refused with 400 and the value's
name; or `lenient`: the value shows as nothing. A request may say `?undefined=lenient` or
`?undefined=strict` for itself.

Who is who: an API key is the user name of HTTP Basic, with an empty password, and each key is a
user of its own: the principal that Kinto's `basicauth` policy gives to `key:`. So
`Session(url, auth=("the-api-key", ""))` is the same user over Kinto's API and finds the same data
in its default bucket, collections `kv` and `templates`. Users of Kinto's accounts plugin may also
come, with their name and password; then the policy `account` has to stand before `basicauth` in
`multiauth.policies`. Everybody else gets 404 everywhere, as on kvp.io.

Several processes may serve one PostgreSQL. What was written through Kinto's own API at the same
moment as through this one is only safe from being overwritten where Kinto runs with
`kinto.storage_isolation_level = REPEATABLE READ`, because Kinto's If-Match is not atomic.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from pyramid.authentication import extract_http_basic_credentials
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid.request import Request
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.settings import aslist

from kinto_orm.server import kvp_reads, kvp_turns
from kinto_orm.server.kvp_views import PATIENCE, account, bucket, templates
from kinto_orm.wire.clock import is_seconds

_ROUTES = {
    "kvp-account": ("/account{path:(?:/[\\s\\S]*)?}", account),
    "kvp-bucket": ("/bucket{path:(?:/[\\s\\S]*)?}", bucket),
    "kvp-templates": ("/templates{path:(?:/[\\s\\S]*)?}", templates),
}
_UNDEFINED_MODES = ("strict", "lenient")


def includeme(config: Configurator) -> None:
    """Add the three endpoints, `account`, `bucket` and `templates`, to a Kinto.

    Args:
        config: Kinto's configurator; Kinto calls this for each entry of `kinto.includes`.

    Raises:
        ConfigurationError: A setting is wrong or missing; the message says which.
    """
    _check_settings(config)
    config.add_api_capability(
        "kvp",
        description="The REST API of kvp.io: values by key path, and templates rendered from them.",
        url="https://pypi.org/project/kinto-orm/",
    )
    kvp_reads.setup(config)
    kvp_turns.setup(config)
    config.add_request_method(_account, name="kvp_account", reify=True)
    for name, (pattern, view) in _ROUTES.items():
        config.add_route(name, pattern)
        config.add_view(view, route_name=name, permission=NO_PERMISSION_REQUIRED)


def _check_settings(config: Configurator) -> None:
    settings = config.get_settings()
    keys = _known_keys(settings)
    policies = aslist(settings.get("multiauth.policies", ""))
    if not settings.get("kvp_bucket") and "default_bucket" not in config.registry.api_capabilities:
        raise ConfigurationError(
            "kinto_orm.server.kvp keeps data in default buckets: put "
            "kinto.plugins.default_bucket before it in kinto.includes, or set kinto.kvp_bucket"
        )
    if keys and "basicauth" not in policies:
        raise ConfigurationError("kinto.kvp_api_keys needs basicauth in multiauth.policies")
    if any(":" in key for key in keys):
        raise ConfigurationError("a key in kinto.kvp_api_keys has a colon, which HTTP Basic cuts")
    if settings.get("kvp_undefined", "strict") not in _UNDEFINED_MODES:
        raise ConfigurationError("kinto.kvp_undefined must be strict or lenient")
    if not is_seconds(settings.get("kvp_patience", PATIENCE)):
        raise ConfigurationError("kinto.kvp_patience must be a number of seconds, more than 0")


def _account(request: Request) -> str | None:
    """Give the caller's principal, None when it has no account here."""
    if request.authenticated_userid is None:
        return None
    principal: str = request.prefixed_userid
    return principal if principal.startswith("account:") or _has_api_key(request) else None


def _has_api_key(request: Request) -> bool:
    credentials = extract_http_basic_credentials(request)
    if credentials is None or credentials.password:
        return False
    given = credentials.username.encode()
    known = _known_keys(request.registry.settings)
    # Every key is compared, so that the time taken tells nothing.
    return sum(hmac.compare_digest(given, key.encode()) for key in known) > 0


def _known_keys(settings: Mapping[str, object]) -> list[str]:
    given = settings.get("kvp_api_keys", "")
    # Kinto parses a setting that is JSON: one key of digits alone is a number by now.
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise ConfigurationError(f"kinto.kvp_api_keys: a key may not be JSON like {given!r}")
    return list(aslist(str(given)))
