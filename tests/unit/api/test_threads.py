"""Types may be used by several threads from the first moment: a test may keep a cluster of ours in a thread."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import threading

sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)
seen = []

def work():
    from skerry.api import codec
    from skerry.api.types import apps, core, discovery

    barrier.wait()
    for kind in (core.Pod, apps.Deployment, discovery.EndpointSlice, core.Service, core.Node):
        codec.decode(kind, b'{"addressType": "IPv4"}')
        codec.convert(kind, {"addressType": "IPv4"})
        seen.append(kind)

threads = [threading.Thread(target=work) for _ in range(8)]
for one in threads:
    one.start()
for one in threads:
    one.join()
print(len(seen), len(set(seen)))
"""


def test_the_first_use_in_many_threads_at_once() -> None:
    made = [
        subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(8)
    ]  # msgspec alone ended one in four of them by a signal
    assert [(one.communicate(timeout=60)[0].decode(), one.returncode) for one in made] == [("40 5\n", 0)] * 8
