"""JSON values by key path, on a Kinto server and on one of kvp.io."""
