"""A headless kiosk (キオスク端末): from the card on the reader to the paper.

`issue` walks one transaction through the delivery center. Nothing is printed that has not been paid
for: until then the kiosk holds the certificate sealed and has no key.
"""

from bcl_sim.kiosk.center_line import CenterLine, connect
from bcl_sim.kiosk.session import Choice, IssuedPaper, Terminal, issue

__all__ = ["CenterLine", "Choice", "IssuedPaper", "Terminal", "connect", "issue"]
