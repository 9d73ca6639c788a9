"""Source of model classes, from JSON schemas and from a look at records."""
