"""What a typed object is, and what is done to it: one file for each act."""
