"""The fault matrix: every operation meets every fault at each of its requests.

What becomes of it is judged by looking at the server directly. `make trust` runs all of it and
prints the table of docs/reliability.md.
"""
