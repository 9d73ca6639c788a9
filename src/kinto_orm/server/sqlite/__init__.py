"""Storage and permissions of a Kinto in one SQLite file.

Any Kinto 26 can use them:

    kinto.storage_backend = kinto_orm.server.sqlite.storage
    kinto.storage_url = sqlite:///app.db
    kinto.permission_backend = kinto_orm.server.sqlite.permission
    kinto.permission_url = sqlite:///app.db

Both belong into the same file: a request is one transaction of it. The cache may stay in memory,
with `kinto.cache_backend = kinto.core.cache.memory`: the accounts plugin prolongs an entry each
time that a user logs in, and in the file each of these reads would become a write.
"""
