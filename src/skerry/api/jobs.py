"""Names that the API server and the Job controllers share: labels, the finalizer. Pure."""

from __future__ import annotations

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
OLD_CONTROLLER_UID = "controller-uid"
OLD_JOB_NAME = "job-name"
