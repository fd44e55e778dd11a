"""Acts of issuing: one verb each, transaction and audit row inside."""
