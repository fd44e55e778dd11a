"""The linkage gateway in the town hall (連携APサーバ・庁内): collect, check, sign, send, report.

Owns: what a town hands over until BCL has signed for it.
Promises: outbound only, never a listening port (R-013); nothing in clear outlives sealing
(R-041); every step is in the journal before it is taken, so a kill at any moment loses nothing
and doubles nothing (R-017, R-018); lanes are numbered without gaps (R-019).
Journey: docs/journeys/daily-sync.md, steps 1 to 4 and 10.
Never: imports the cloud, Django or a database driver.
"""
