"""Kinto's own suites for backends, which nobody here wrote, on those of a SQLite file.

Each class says, as Kinto's own for PostgreSQL does, which settings to use and how to break the
server for the tests of errors: here the tables are renamed, so that each statement fails.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import unittest
import warnings
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from kinto.core.permission.testing import PermissionTest
    from kinto.core.storage.testing import StorageTest

from kinto_orm.server.sqlite import permission, storage


class Breakage:
    """Takes tables away from a file, and gives them back."""

    def __init__(self, path: Path, tables: tuple[str, ...]) -> None:
        self._path = path
        self._tables = tables
        self._is_broken = False

    def start(self) -> None:
        self._rename("", "_gone")
        self._is_broken = True

    def mend(self) -> None:
        if self._is_broken:
            self._rename("_gone", "")
            self._is_broken = False

    def _rename(self, old: str, new: str) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        for table in self._tables:
            connection.execute(f"ALTER TABLE {table}{old} RENAME TO {table}{new}")
        connection.close()


class InAFile:
    """One file for each test."""

    settings: dict[str, Any]
    tables: tuple[str, ...]
    storage: Any
    permission: Any

    def setUp(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="kinto-orm-"))
        self.addCleanup(shutil.rmtree, directory)
        url = f"sqlite:///{directory}/app.db"
        self.settings = {"storage_url": url, "permission_url": url, "storage_max_fetch_size": 10000}
        for prefix in ("storage", "permission"):
            self.settings[f"{prefix}_durable"] = "false"
        self.breakage = Breakage(directory / "app.db", self.tables)
        super().setUp()

    def tearDown(self) -> None:
        self.breakage.mend()
        super().tearDown()
        backend = self.storage if "storage" in vars(self) else self.permission
        backend.work.database.close()


class TestStorage(InAFile, StorageTest, unittest.TestCase):
    """Kinto's tests of a storage backend."""

    backend = storage
    tables = ("objects", "resources")

    def setUp(self) -> None:
        super().setUp()
        self.client_error_patcher = self.breakage


class TestPermission(InAFile, PermissionTest, unittest.TestCase):
    """Kinto's tests of a permission backend."""

    backend = permission
    tables = ("access_control_entries", "user_principals")

    def setUp(self) -> None:
        super().setUp()
        self.client_error_patcher = [self.breakage]
