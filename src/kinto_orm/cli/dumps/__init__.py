"""Dumps: objects of a server in a file, with their permissions, and back."""
