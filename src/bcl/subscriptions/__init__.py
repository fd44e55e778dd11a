"""Giving towns' data on to other systems, no more than their profile says (購読)."""
