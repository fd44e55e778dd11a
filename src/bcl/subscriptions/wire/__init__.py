"""The door for subscribers."""
