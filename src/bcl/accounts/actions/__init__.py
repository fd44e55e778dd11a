"""Acts on staff accounts, by subject."""
