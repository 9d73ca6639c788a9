"""Finding objects: conditions, queries, pages, and following what changes."""
