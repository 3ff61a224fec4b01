"""Two machines on one: network namespaces that a pair of virtual cables joins."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

ADDRESSES = ("10.77.0.1", "10.77.0.2")
SETUP = """
set -e
ip link set lo up
unshare -n sh -c 'ip link set lo up; echo $$; exec sleep 600' > "$0" &
while ! [ -s "$0" ]; do sleep 0.02; done
other=$(cat "$0")
ip link add eth0 type veth peer name eth0 netns $other
for machine in $$ $other; do
    nsenter -t $machine -n ip link set eth0 up multicast on
done
ip address add 10.77.0.1/24 dev eth0
nsenter -t $other -n ip address add 10.77.0.2/24 dev eth0
for machine in $$ $other; do
    nsenter -t $machine -n ip route add 224.0.0.0/4 dev eth0
done
echo $$ $other
wait
"""


@contextmanager
def two_machines(folder):
    """Prefixes of commands that run on the one and on the other machine, at `ADDRESSES`."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"needs the program {program}")
    user = [] if os.geteuid() == 0 else ["-r"]
    holder = subprocess.Popen(
        ["unshare", *user, "-n", "sh", "-c", SETUP, str(folder / "other")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pids = holder.stdout.readline().split()
    if len(pids) != 2:
        holder.kill()
        pytest.skip(f"no network namespaces here: {holder.communicate()[1].strip()}")
    as_user = ["-U", "--preserve-credentials"] if user else []
    try:
        yield [["nsenter", "-t", pid, *as_user, "-n"] for pid in pids]
    finally:
        subprocess.run([*_entering(pids[0], as_user), "kill", *reversed(pids)], check=False)
        holder.communicate()


def _entering(pid, as_user):
    return ["nsenter", "-t", pid, *as_user, "-n"]
