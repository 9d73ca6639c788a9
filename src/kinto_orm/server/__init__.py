"""A Kinto of your own: in the process, in a file, in a directory, on a loopback port.

The sessions `Session("memory://")`, `Session("sqlite:///file")` and `Session("local:///directory")`
open these. The package
needs the extra `server` (`pip install 'kinto-orm[server]'`), which is imported when a server
is opened.
"""

import sys

from kinto_orm.server.embedded import EmbeddedServer, open_memory
from kinto_orm.server.file import open_sqlite
from kinto_orm.server.loopback import LoopbackServer, serve
from kinto_orm.server.process import ProcessServer, serve_process

if sys.platform == "win32":
    from kinto_orm.server.windows import open_local
else:
    from kinto_orm.server.local import open_local

__all__ = [
    "EmbeddedServer",
    "LoopbackServer",
    "ProcessServer",
    "open_local",
    "open_memory",
    "open_sqlite",
    "serve",
    "serve_process",
]
