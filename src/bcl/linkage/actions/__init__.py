"""Acts of the intake, one verb each: transaction and audit row inside."""
