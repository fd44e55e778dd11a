"""Acts of the resident store: one verb a module."""
