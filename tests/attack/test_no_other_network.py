"""The whole demonstration in a network of its own that leads nowhere: nothing leaves (R-162).

The network has loopback and a second line with a default route. Whatever any process of the world
sends anywhere else goes onto that line and is counted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

SCRIPT = """
set -e
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 || true
ip link set lo up
# Kernels without dummy lines have pairs; the far end takes everything and answers nothing.
ip link add out type dummy 2>/dev/null || {
  ip link add out type veth peer name nowhere
  ip link set nowhere arp off addrgenmode none up
}
ip link set out addrgenmode none
ip addr add 192.0.2.1/24 dev out
ip link set out arp off up
ip route add default via 192.0.2.254 dev out
before=$(cat /sys/class/net/out/statistics/tx_packets)
"$@"
echo "LEFT $(( $(cat /sys/class/net/out/statistics/tx_packets) - before ))"
"""


@pytest.mark.requirement("R-162")
def test_demonstration__in_a_network_of_its_own__sends_nothing_out(tell, tmp_path) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("network namespaces need root, unshare and ip")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        # -m: its own /sys, where the counters are those of the new network.
        inside = ["unshare", "-n", "-m", "bash", "-c", f"mount -t sysfs none /sys; {SCRIPT}", "-"]
        return subprocess.run(
            [*inside, *command], capture_output=True, text=True, timeout=600, check=True,
            cwd=tmp_path, env=os.environ | {"BCL_WORLD": f"alone-{os.getpid()}"},
        )  # fmt: skip

    control = run("bash", "-c", "echo x > /dev/udp/192.0.2.77/9")
    assert re.search(r"LEFT [1-9]", control.stdout), "the counter counts"
    done = run(sys.executable, "-m", "bcl_cli.main", "world", "demo", "--check",
               "--residents", "1000")  # fmt: skip
    left = re.search(r"LEFT (\d+)", done.stdout)
    assert left is not None
    tell["packets that left during the demonstration"] = int(left[1])
    assert int(left[1]) == 0
