"""Acts of oversight, one verb each: transaction and audit row inside."""
