"""The linkage interface (連携インタフェース): layouts, tables, packages and their checks.

Owns: what a municipality's core system and BCL must agree on when data travels.
Promises: the same code checks at the town hall, in the cloud and on a desk without either.
"""
