"""`python -m kinto_orm.cli` is `kinto-orm`."""

from kinto_orm.cli import main

main()
