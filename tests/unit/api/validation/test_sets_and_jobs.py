"""Checks of StatefulSet, DaemonSet, ControllerRevision, Job and CronJob, with upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, validation
from skerry.api.resources import of
from skerry.api.types import apps, batch
from skerry.apiserver import strategies

POD = {"containers": [{"name": "web", "image": "nginx"}]}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": POD}
SET = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}
ONCE = {"template": {"spec": {**POD, "restartPolicy": "Never"}}}
RULE = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}


def make(kind: Any, spec: dict[str, Any], name: str = "web") -> Any:
    obj = codec.convert(kind, {"metadata": {"name": name, "namespace": "default", "uid": "u"}, "spec": spec})
    defaults.apply(obj)
    strategies.of(of(kind)).prepare_create(obj, strategies.Context())
    return obj


def texts(errors: list[Any]) -> list[str]:
    return [str(one) for one in errors]


ROLLING = "spec.updateStrategy.rollingUpdate"


def rolling(**values: Any) -> dict[str, Any]:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": values}}


@pytest.mark.parametrize(
    ("kind", "more", "wanted"),
    [
        (apps.StatefulSet, {}, []),
        (apps.StatefulSet, {"selector": {}},
         ["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"]),
        (apps.StatefulSet, {"podManagementPolicy": "Any"},
         ['spec.podManagementPolicy: Invalid value: "Any": must be \'OrderedReady\' or \'Parallel\'']),
        (apps.StatefulSet, {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}},
         [f'{ROLLING}: Invalid value: {{"partition":1}}: only allowed for updateStrategy \'RollingUpdate\'']),
        (apps.StatefulSet, {"updateStrategy": {"type": "Slow"}},
         ['spec.updateStrategy: Invalid value: {"type":"Slow"}: must be \'RollingUpdate\' or \'OnDelete\'']),
        (apps.StatefulSet, rolling(partition=-1),
         [f"{ROLLING}.partition: Invalid value: -1: must be greater than or equal to 0"]),
        (apps.StatefulSet, rolling(maxUnavailable=0), [f"{ROLLING}.maxUnavailable: Invalid value: 0: cannot be 0"]),
        (apps.StatefulSet, {"ordinals": {"start": -1}},
         ["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"]),
        (apps.StatefulSet, {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"}},
         [('spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": '
          'supported values: "Delete", "Retain"')]),
        (apps.DaemonSet, {}, []),
        (apps.DaemonSet, {"selector": {"matchLabels": {"app": "b"}}},
         ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`']),
        (apps.DaemonSet, rolling(maxUnavailable=1, maxSurge=1),
         [f"{ROLLING}.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"]),
        (apps.DaemonSet, rolling(maxUnavailable=0, maxSurge="0%"),
         [f"{ROLLING}.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]),
        (apps.DaemonSet, {"updateStrategy": {"type": "Recreate"}},
         [('spec.updateStrategy: Unsupported value: {"type":"Recreate"}: '
          'supported values: "OnDelete", "RollingUpdate"')]),
    ],
)  # fmt: skip
def test_sets(kind: Any, more: dict[str, Any], wanted: list[str]) -> None:
    assert texts(validation.create(make(kind, {**SET, **more}))) == wanted


def test_what_of_a_set_may_change() -> None:
    old = make(apps.StatefulSet, {**SET, "serviceName": "web"})
    new = make(apps.StatefulSet, {**SET, "serviceName": "web", "replicas": 9, "ordinals": {"start": 5}})
    assert validation.update(new, old) == []
    new = make(apps.StatefulSet, {**SET, "serviceName": "other"})
    found = texts(validation.update(new, old))
    assert len(found) == 1 and found[0].startswith("spec: Forbidden: updates to statefulset spec for fields other than")
    old = make(apps.DaemonSet, SET)
    new = make(apps.DaemonSet, {**SET, "selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}})
    assert texts(validation.update(new, old))[0].endswith("field is immutable")


def test_revisions() -> None:
    old = apps.ControllerRevision(data={"a": 1}, revision=1)
    old.metadata.name = "web-1"
    old.metadata.namespace = "default"
    assert validation.create(old) == []
    new = codec.copy(old)
    new.revision = 2
    assert validation.update(new, old) == []
    new.data = {"a": 2}
    assert texts(validation.update(new, old)) == ['data: Invalid value: {"a":2}: field is immutable']
    new.data, new.revision = None, -1
    assert texts(validation.create(new)) == [
        "revision: Invalid value: -1: must be greater than or equal to 0", "data: Required value: data is mandatory",
    ]  # fmt: skip


INDEXED = {"completionMode": "Indexed", "completions": 3}


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, []),
        ({**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "0,2", "succeededCount": 1}]}}, []),
        ({**INDEXED, "backoffLimitPerIndex": 1, "maxFailedIndexes": 1}, []),
        ({"podFailurePolicy": {"rules": [RULE]}}, []),
        ({"template": {"spec": POD}},
         ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
        ({"parallelism": -1}, ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"]),
        ({"completionMode": "Some"},
         ['spec.completionMode: Unsupported value: "Some": supported values: "Indexed", "NonIndexed"']),
        ({"completionMode": "Indexed", "parallelism": 1},
         ["spec.completions: Required value: when completion mode is Indexed"]),
        ({"backoffLimitPerIndex": 1},
         ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]),
        ({**INDEXED, "maxFailedIndexes": 1},
         ["spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"]),
        ({"successPolicy": {"rules": []}},
         ['spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode']),
        ({**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "1-7"}]}},
         [('spec.successPolicy.rules[0].succeededIndexes: Invalid value: "1-7": '
          'error parsing succeededIndexes: too large index: "7"')]),
        ({"podFailurePolicy": {"rules": [{"action": "Count"}]}},
         [('spec.podFailurePolicy.rules[0]: Invalid value: {"action":"Count"}: '
          "specifying one of OnExitCodes and OnPodConditions is required")]),
        ({"podFailurePolicy": {"rules": [RULE]}, "podReplacementPolicy": "TerminatingOrFailed"},
         ['spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"']),
        ({"podFailurePolicy": {"rules": [{**RULE, "onExitCodes": {"operator": "In", "values": [0]}}]}},
         ["spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"]),
        ({"managedBy": "me"},
         ['spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")']),
    ],
)  # fmt: skip
def test_jobs(more: dict[str, Any], wanted: list[str]) -> None:
    assert texts(validation.create(make(batch.Job, {**ONCE, **more}))) == wanted


def test_a_job_has_a_selector_of_its_own() -> None:
    made = make(batch.Job, ONCE)
    assert made.spec.selector.match_labels == {"batch.kubernetes.io/controller-uid": "u"}
    wanted = {
        "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "web",
        "controller-uid": "u", "job-name": "web",
    }  # fmt: skip
    assert made.spec.template.metadata.labels == made.metadata.labels == wanted
    own = make(batch.Job, {**ONCE, "selector": {"matchLabels": {"a": "b"}}})
    assert any("`selector` not auto-generated" in one for one in texts(validation.create(own)))
    template = {**ONCE["template"], "metadata": {"labels": {"a": "b"}}}
    manual = make(
        batch.Job, {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    )  # fmt: skip
    assert validation.create(manual) == []


def test_what_of_a_job_may_change() -> None:
    def job(**more: Any) -> Any:
        return make(batch.Job, {**ONCE, **INDEXED, "parallelism": 3, **more})

    old = job()
    assert validation.update(job(parallelism=1, suspend=True, activeDeadlineSeconds=3), old) == []
    assert validation.update(job(completions=5, parallelism=5), old) == []
    found = texts(validation.update(job(completions=5), old))
    assert found[0].startswith("spec.completions: Invalid value: 5: can only be modified in tandem with spec.parallel")
    changed = {"template": {"spec": {**POD, "restartPolicy": "Never", "nodeSelector": {"a": "b"}}}}
    found = texts(validation.update(job(**changed), old))
    assert found[0].startswith("spec.template: Invalid value") and found[0].endswith("field is immutable")
    assert validation.update(job(**changed), job(suspend=True)) == []


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, []),
        ({"schedule": "@hourly", "timeZone": "Europe/Berlin"}, []),
        ({"schedule": ""}, ["spec.schedule: Required value"]),
        ({"schedule": "x"}, ['spec.schedule: Invalid value: "x": expected exactly 5 fields, found 1: [x]']),
        ({"schedule": "TZ=UTC * * * * *"},
         [('spec.schedule: Invalid value: "TZ=UTC * * * * *": '
          "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")]),
        ({"timeZone": "Nowhere"}, ['spec.timeZone: Invalid value: "Nowhere": unknown time zone Nowhere']),
        ({"timeZone": ""}, ['spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string']),
        ({"concurrencyPolicy": "Maybe"},
         ['spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"']),
        ({"jobTemplate": {"spec": {"template": {"spec": POD}}}},
         ['spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
        ({"jobTemplate": {"spec": {**ONCE, "manualSelector": True}}},
         ["spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"false\", \"nil\""]),
    ],
)  # fmt: skip
def test_cronjobs(more: dict[str, Any], wanted: list[str]) -> None:
    made = make(batch.CronJob, {"schedule": "* * * * *", "jobTemplate": {"spec": ONCE}, **more})
    assert texts(validation.create(made)) == wanted


def test_a_long_name_of_a_cronjob() -> None:
    made = make(batch.CronJob, {"schedule": "* * * * *", "jobTemplate": {"spec": ONCE}}, "c" * 53)
    assert texts(validation.create(made))[0].endswith("must be no more than 52 characters")


def test_statuses() -> None:
    old = make(batch.Job, ONCE)
    new = codec.copy(old)
    new.status.conditions = [batch.JobCondition(type="Complete", status="True")]
    assert "completionTime is required for Complete jobs" in texts(validation.update(new, old, "status"))[0]
    new.status.completion_time = "2026-01-01T00:00:00Z"
    assert validation.update(new, old, "status") == []
    assert "cannot disable" in texts(validation.update(old, new, "status"))[0]
    numbers = make(apps.StatefulSet, SET)
    numbers.status.ready_replicas = 2
    assert texts(validation.update(numbers, numbers, "status")) == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
    ]
