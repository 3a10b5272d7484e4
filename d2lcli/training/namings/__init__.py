"""Namings: how other libraries call the tensors of our models.  One file per family, its tables in `NAMINGS`."""

Rules = tuple[tuple[str, str], ...]
"""The beginning of a foreign name and what it becomes, see `d2lcli.training.converters`; the first that fits counts."""

Naming = tuple[str, Rules]
"""A prefix that all foreign names but the head's may have, and the rules for what follows it."""
