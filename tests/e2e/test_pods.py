"""Pods as processes: several containers, init containers, restarts and their pauses, logs, and how a pod ends."""

from __future__ import annotations

import itertools
import json
import re
import time
from typing import Any

import pytest
from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless


def create(kubectl: Kubectl, name: str, *containers: dict[str, Any], **spec: Any) -> None:
    """A pod; a container's image is busybox unless it says otherwise."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"image": "busybox", **one} for one in containers], "terminationGracePeriodSeconds": 1},
    }
    body["spec"].update(spec)  # type: ignore[attr-defined]
    kubectl("create", "-f", "-", stdin=json.dumps(body))


def sh(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **more}


def steps(watch: look.Lines) -> list[str]:
    """The STATUS column of a watch, without repetitions."""
    return [status for status, _ in itertools.groupby(line.split()[2] for line in watch.seen)]


# Several containers -----------------------------------------------------------------------------------------------


def test_containers_share_network_name_and_volumes(pods: Kubectl) -> None:
    mount = [{"name": "shared", "mountPath": "/shared"}]
    fetch = "until wget -q -O /shared/page http://localhost/hostname 2>/dev/null; do sleep 0.05; done"
    tool = sh("tool", f"{fetch}; cat /shared/page; hostname; exec sleep 1000", volumeMounts=mount)
    other = sh("other", "until grep -s . /shared/page; do sleep 0.05; done; exec sleep 1000", volumeMounts=mount)
    web, volume = {"name": "web", "image": "nginx"}, {"name": "shared", "emptyDir": {}}
    create(pods, "several", web, tool, other, volumes=[volume])
    pods("wait", "pod/several", "--for=condition=Ready", "--timeout=30s")
    assert pods("get", "pod", "several", "--no-headers").split()[1] == "3/3"
    with look.lines(pods, "logs", "-f", "several", "-c", "tool") as log:
        log.until(lambda line: log.seen == ["several", "several"])
    with look.lines(pods, "logs", "-f", "several", "-c", "other") as log:
        log.until(lambda line: line == "several")
    whole = pods.run("logs", "several")
    assert 'Defaulted container "web" out of: web, tool, other' in whole.err and "nginx" in whole.out
    prefixed = pods("logs", "several", "--all-containers", "--prefix").splitlines()
    assert "[pod/several/other] several" in prefixed
    assert {line.split("]")[0] for line in prefixed} == {f"[pod/several/{name}" for name in ("web", "tool", "other")}
    none = pods.run("logs", "several", "-c", "none")
    assert none.code == 1 and "container none is not valid for pod several" in none.err


def test_init_containers_run_one_by_one_before_the_others(pods: Kubectl) -> None:
    mount = [{"name": "shared", "mountPath": "/shared"}]
    inits = [
        sh("first", "echo 1 >> /shared/order; until [ -e /tmp/go ]; do sleep 0.05; done", volumeMounts=mount),
        sh("second", "echo 2 >> /shared/order", volumeMounts=mount),
    ]
    main = sh("main", "cat /shared/order; exec sleep 1000", volumeMounts=mount)
    with look.lines(pods, "get", "pods", "-w", "--no-headers") as watch:
        create(pods, "ordered", main, initContainers=inits, volumes=[{"name": "shared", "emptyDir": {}}])
        running = "{.status.initContainerStatuses[0].state.running}"
        pods("wait", "pod/ordered", f"--for=jsonpath={running}", "--timeout=30s")
        why = {one["type"]: one for one in pods.json("get", "pod", "ordered")["status"]["conditions"]}["Initialized"]
        assert why["reason"] == "ContainersNotInitialized"  # R12
        assert why["message"] == "containers with incomplete status: [first second]"
        (waiting,) = pods.json("get", "pod", "ordered")["status"]["containerStatuses"]
        assert waiting["state"] == {"waiting": {"reason": "PodInitializing"}}
        (look.files_of("ordered", namespace=pods.namespace) / "tmp" / "go").touch()
        watch.until(lambda line: line.split()[1:3] == ["1/1", "Running"])
        shown = steps(watch)
    # The watch may begin when the pod is past Pending.
    assert shown[0] in ("Pending", "Init:0/2") and "Init:0/2" in shown[:2] and shown[-1] == "Running"
    assert set(shown[2:-1]) <= {"Init:1/2", "PodInitializing"} and "Init:1/2" in shown
    assert pods("logs", "ordered", "-c", "main").split() == ["1", "2"]
    found = pods.json("get", "pod", "ordered")["status"]["initContainerStatuses"]
    assert [one["state"]["terminated"]["reason"] for one in found] == ["Completed", "Completed"]


@pytest.mark.parametrize(("policy", "end"), [("Never", "Init:Error"), ("Always", "Init:CrashLoopBackOff")])
def test_an_init_container_that_fails(pods: Kubectl, policy: str, end: str) -> None:
    with look.lines(pods, "get", "pods", "-w", "--no-headers") as watch:
        failing = sh("broken", "echo cannot; exit 4")
        create(pods, "held", sh("main", "echo never"), initContainers=[failing], restartPolicy=policy)
        watch.until(lambda line: line.split()[2] == end)
    if policy == "Never":
        pods("wait", "pod/held", "--for=jsonpath={.status.phase}=Failed", "--timeout=20s")
    assert pods("logs", "held", "-c", "broken") == "cannot\n"
    early = pods.run("logs", "held", "-c", "main")
    assert "never" not in early.out


# Restarts ---------------------------------------------------------------------------------------------------------


def test_a_crash_is_restarted_with_growing_pauses(pods: Kubectl) -> None:
    """R18: at once, then after 10 s; CrashLoopBackOff meanwhile; the log of the one before with --previous."""
    with look.lines(pods, "get", "pods", "-w", "--no-headers") as watch:
        script = "echo this is $(cat /proc/sys/kernel/random/uuid); exit 3"
        look.busybox(pods, "crash", script, restart="Always")
        watch.until(lambda line: line.split()[2:4] == ["CrashLoopBackOff", "1"])
        found = look.pod_status(pods, "crash")
        started = time.monotonic()
        assert found["lastState"]["terminated"]["exitCode"] == 3
        assert found["lastState"]["terminated"]["reason"] == "Error"
        metadata = pods.json("get", "pod", "crash")["metadata"]
        where = f"crash_{metadata['namespace']}({metadata['uid']})"
        assert found["message"] == f"back-off 10s restarting failed container=crash pod={where}"
        wanted = ("Warning", "BackOff", f"Back-off restarting failed container crash in pod {where}")
        eventually(lambda: wanted in look.events(pods, "crash"), 10, "the event")
        last = pods("logs", "crash")
        assert last.startswith("this is ") and last == pods("logs", "crash", "--previous")  # no newer one runs
        assert pods.json("get", "pod", "crash")["status"]["phase"] == "Running"
        watch.until(lambda line: line.split()[3] == "2", seconds=20)
        assert time.monotonic() - started > 5  # the pause began a moment before we looked
        watch.until(lambda line: line.split()[2] == "CrashLoopBackOff")
    assert look.pod_status(pods, "crash")["message"].startswith("back-off 20s ")
    assert pods("logs", "crash", "--previous") != last


@pytest.mark.parametrize(
    ("policy", "code", "phase"), [("OnFailure", 0, "Succeeded"), ("Never", 0, "Succeeded"), ("Never", 5, "Failed")]
)
def test_a_pod_that_comes_to_its_end(pods: Kubectl, policy: str, code: int, phase: str) -> None:
    look.busybox(pods, "job", f"echo done; exit {code}", restart=policy)
    pods("wait", "pod/job", f"--for=jsonpath={{.status.phase}}={phase}", "--timeout=30s")
    found = look.pod_status(pods, "job")
    assert (found["is"], found["exitCode"], found["restartCount"]) == ("terminated", code, 0)
    assert look.shown_status(pods, "job") == ("Error" if code else "Completed")
    assert pods("logs", "-f", "job") == "done\n"  # of what has ended, following ends too


def test_a_liveness_probe_restarts_its_container(pods: Kubectl) -> None:
    """R6, R8."""
    probe = {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    started = {**probe, "failureThreshold": 30}
    create(pods, "probed", sh("main", "touch /tmp/alive; exec sleep 1000", livenessProbe=probe, startupProbe=started))
    pods("wait", "pod/probed", "--for=condition=Ready", "--timeout=30s")
    (look.files_of("probed", namespace=pods.namespace) / "tmp" / "alive").unlink()
    pods("wait", "pod/probed", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "--timeout=30s")
    pods("wait", "pod/probed", "--for=condition=Ready", "--timeout=30s")
    said = look.events(pods, "probed")
    assert ("Normal", "Killing", "Container main failed liveness probe, will be restarted") in said
    assert any(reason == "Unhealthy" and text.startswith("Liveness probe failed: ") for _, reason, text in said)
    assert look.pod_status(pods, "probed")["lastState"]["terminated"]["exitCode"] == 137


# Logs -------------------------------------------------------------------------------------------------------------


def test_logs_follow_what_is_written_while_it_is_written(pods: Kubectl) -> None:
    script = "echo one; until [ -e /tmp/go ]; do sleep 0.05; done; echo two >&2; printf three; exit 0"
    look.busybox(pods, "talker", script)
    pods("wait", "pod/talker", "--for=condition=Ready", "--timeout=30s")
    with look.lines(pods, "logs", "-f", "talker") as log:
        log.until(lambda line: line == "one")
        (look.files_of("talker", namespace=pods.namespace) / "tmp" / "go").touch()
        assert log.rest() == ["one", "two", "three"]  # a last line without its end is a line too
    pods("wait", "pod/talker", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    assert pods("logs", "talker") == "one\ntwo\nthree"
    assert pods("logs", "talker", "--tail=1") == "three"
    assert pods("logs", "talker", "--limit-bytes=5") == "one\nt"
    assert pods("logs", "talker", "--since=1h").splitlines() == ["one", "two", "three"]
    stamped = pods("logs", "talker", "--timestamps").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z (one|two|three)$", line) for line in stamped)
    none = pods.run("logs", "talker", "--previous")
    assert none.code == 1 and 'previous terminated container "talker" in pod "talker" not found' in none.err


def test_logs_of_many_pods(pods: Kubectl) -> None:
    for name in ("a", "b"):
        look.busybox(pods, name, f"echo I am {name}", "--labels=group=x")
        pods("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    assert sorted(pods("logs", "-l", "group=x").splitlines()) == ["I am a", "I am b"]


# The end ----------------------------------------------------------------------------------------------------------


def test_a_pod_gets_the_time_it_needs_to_end(pods: Kubectl) -> None:
    """R14: SIGTERM, and no SIGKILL while its grace lasts; the object stays until the process has gone."""
    ending = "echo asked; until [ -e /tmp/go ]; do sleep 0.05; done; echo bye; exit 0"
    script = f"trap '{ending}' TERM; echo up; while :; do sleep 0.05; done"
    look.busybox(pods, "graceful", script, grace=60)
    with look.lines(pods, "logs", "-f", "graceful", "--pod-running-timeout=30s") as log:
        log.until(lambda line: line == "up")
        pods("delete", "pod", "graceful", "--wait=false")
        log.until(lambda line: line == "asked")
        found = pods.json("get", "pod", "graceful")
        assert found["metadata"]["deletionGracePeriodSeconds"] == 60 and "deletionTimestamp" in found["metadata"]
        assert look.shown_status(pods, "graceful") == "Terminating" and found["status"]["phase"] == "Running"
        (look.files_of("graceful", namespace=pods.namespace) / "tmp" / "go").touch()
        log.until(lambda line: line == "bye")
    pods("wait", "pod/graceful", "--for=delete", "--timeout=20s")
    assert ("Normal", "Killing", "Stopping container graceful") in look.events(pods, "graceful")


def test_a_pod_that_will_not_end_is_killed(pods: Kubectl) -> None:
    look.busybox(pods, "stubborn", "trap 'echo no' TERM; while :; do sleep 0.05; done", grace=1)
    pods("wait", "pod/stubborn", "--for=condition=Ready", "--timeout=30s")
    with look.lines(pods, "logs", "-f", "stubborn") as log:
        begun = time.monotonic()
        pods("delete", "pod", "stubborn", "--timeout=30s")
        assert time.monotonic() - begun > 0.9
        assert log.rest() == ["no"]


def test_a_forced_deletion_does_not_wait(pods: Kubectl) -> None:
    look.busybox(pods, "stubborn", "trap '' TERM; while :; do sleep 0.05; done", grace=600)
    pods("wait", "pod/stubborn", "--for=condition=Ready", "--timeout=30s")
    root = look.files_of("stubborn", namespace=pods.namespace)
    pods("delete", "pod", "stubborn", "--force", "--grace-period=0", "--timeout=20s")
    assert "(NotFound)" in pods.run("get", "pod", "stubborn").err
    eventually(lambda: not (root / "etc").exists(), 20, "the process's end")


def test_a_hook_runs_before_the_signal(pods: Kubectl) -> None:
    """preStop (R14): the container is asked to end only after it."""
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /proc/1/fd/1"]}}}
    script = "trap 'echo signal; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    create(pods, "hooked", sh("main", script, lifecycle=hook), terminationGracePeriodSeconds=30)
    with look.lines(pods, "logs", "-f", "hooked", "--pod-running-timeout=30s") as log:
        log.until(lambda line: line == "up")
        pods("delete", "pod", "hooked", "--wait=false")
        assert log.rest() == ["up", "hook", "signal"]


# What a container finds -------------------------------------------------------------------------------------------


def test_environment_names_and_identity(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """N1, N2, D18: Services in the environment, resolv.conf, hosts; the downward API; configuration."""
    look.applied(pods, "my-service")
    ip = pods("get", "svc", "my-service", "-o", "jsonpath={.spec.clusterIP}")
    pods("create", "configmap", "settings", "--from-literal=color=blue")
    pods("create", "secret", "generic", "key", "--from-literal=password=s3cret")
    env = [
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "key", "key": "password"}}},
        {"name": "MY_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MY_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]
    create(pods, "curious", sh("main", "env; cat /etc/resolv.conf; cat /etc/hosts", env=env), restartPolicy="Never")
    pods("wait", "pod/curious", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    said = pods("logs", "curious").splitlines()
    own = pods.json("get", "pod", "curious")["status"]["podIP"]
    assert {
        f"MY_SERVICE_SERVICE_HOST={ip}",
        "MY_SERVICE_SERVICE_PORT=80",
        f"MY_SERVICE_PORT=tcp://{ip}:80",
        f"MY_SERVICE_PORT_80_TCP_ADDR={ip}",
        "KUBERNETES_SERVICE_HOST=10.96.0.1",
        "KUBERNETES_SERVICE_PORT_HTTPS=443",
        "HOSTNAME=curious",
        "COLOR=blue",
        "PASSWORD=s3cret",
        f"MY_IP={own}",
        "MY_NODE=node-1",
        "nameserver 10.96.0.10",
        "options ndots:5",
        f"{own}\tcurious",
    } <= set(said)
    (search,) = (line for line in said if line.startswith("search "))
    assert search.split()[1:4] == [f"{namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"]


def test_configuration_that_is_not_there_is_waited_for(pods: Kubectl) -> None:
    env = [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "color"}}}]
    create(pods, "waits", sh("main", "echo $COLOR", env=env), restartPolicy="Never")
    eventually(lambda: look.shown_status(pods, "waits") == "CreateContainerConfigError", 20, "the reason")
    assert look.pod_status(pods, "waits")["message"] == 'configmap "late" not found'
    pods("create", "configmap", "late", "--from-literal=color=green")
    pods("wait", "pod/waits", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    assert pods("logs", "waits") == "green\n"
