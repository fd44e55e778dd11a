"""Acts of recovery, one verb each: transaction and audit row inside."""
