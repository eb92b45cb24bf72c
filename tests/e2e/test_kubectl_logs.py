"""kubectl logs and exec of workloads, of several pods at once, and of containers that do not run."""

from __future__ import annotations

from tests.helpers.kubectl import Kubectl

PODS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      initContainers: [{name: init, image: host, command: [echo, prepared]}]
      containers:
        - {name: a, image: host, command: [sh, -c, "echo a1; echo a2; exec sleep 1000000"]}
        - {name: b, image: host, command: [sh, -c, "echo b1; exec sleep 1000000"]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: waits}
spec:
  terminationGracePeriodSeconds: 0
  initContainers: [{name: init, image: host, command: [sh, -c, "echo preparing; exec sleep 1000000"]}]
  containers: [{name: c, image: host, command: ["true"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: homeless}
spec:
  nodeSelector: {kubernetes.io/os: none}
  containers: [{name: c, image: host, command: ["true"]}]
"""


def test_logs_and_exec_of_everything(pods: Kubectl) -> None:
    pods("apply", "-f", "-", stdin=PODS)
    pods("rollout", "status", "deploy/web", "--timeout=30s")
    for subject in ("deploy/web", "svc/web"):
        done = pods.run("logs", subject, "--tail=1")
        assert done.code == 0 and done.out == "a2\n", done
        assert "Found 2 pods, using pod/web-" in done.err
        assert 'Defaulted container "a" out of: a, b, init (init)' in done.err
        assert pods("exec", subject, "-c", "b", "--", "echo", "hi") == "hi\n"
    everything = pods("logs", "-l", "app=web", "--all-containers", "--prefix").splitlines()
    shown = sorted(line.partition("/")[2].partition("/")[2] for line in everything)
    assert shown == sorted(["init] prepared", "a] a1", "a] a2", "b] b1"] * 2)
    both = [line.split() for line in pods("logs", "deploy/web", "--all-pods", "-c", "b").splitlines()]
    assert [(prefix[-3:], line) for prefix, line in both] == [("/b]", "b1")] * 2
    few = pods.run("logs", "-l", "app=web", "-f", "--max-log-requests=1")
    assert few.code == 1 and "maximum allowed concurrency is 1" in few.err
    (stamp, line), *_ = [one.split() for one in pods("logs", "deploy/web", "-c", "a", "--timestamps").splitlines()]
    assert line == "a1"
    assert pods("logs", "deploy/web", "-c", "a", f"--since-time={stamp}").split() == ["a1", "a2"]
    assert pods("logs", "deploy/web", "-c", "a", "--since-time=2100-01-01T00:00:00Z") == ""

    pods("wait", "pod/waits", "--for=jsonpath={.status.initContainerStatuses[0].state.running}", "--timeout=20s")
    assert pods("logs", "waits", "-c", "init") == "preparing\n"
    waiting = pods.run("logs", "waits", "-c", "c")
    assert waiting.code == 1
    assert 'container "c" in pod "waits" is waiting to start: PodInitializing' in waiting.err
    refused = pods.run("exec", "waits", "-c", "c", "--", "true")
    assert (refused.code, refused.err) == (1, 'error: unable to upgrade connection: container not found ("c")\n')
    nothing = pods.run("logs", "homeless")
    assert (nothing.code, nothing.out) == (0, "")
    assert nothing.err == "Warning: pod homeless does not have a host assigned\n"
    refused = pods.run("exec", "homeless", "--", "true")
    assert refused.code == 1 and "pod homeless does not have a host assigned" in refused.err
