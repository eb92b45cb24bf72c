"""All controllers in one process. Called by cluster/ and by `skerry controllers`.

They share one set of caches and wait for events only: an idle cluster costs nothing here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.clock import Clock
from skerry.controllers.budgets.controller import BudgetController
from skerry.controllers.clusterroles import ClusterRoleController
from skerry.controllers.cronjob.controller import CronJobController
from skerry.controllers.daemonset.controller import DaemonSetController
from skerry.controllers.definitions import DefinitionController
from skerry.controllers.deployment.controller import DeploymentController
from skerry.controllers.endpoints.controller import EndpointsController
from skerry.controllers.eventage import EventAgeController
from skerry.controllers.garbage.controller import GarbageController
from skerry.controllers.ipaddresses import IPAddressController
from skerry.controllers.job.controller import JobController
from skerry.controllers.kinds import Kinds
from skerry.controllers.namespace import NamespaceController
from skerry.controllers.nodelifecycle.controller import NodeLifecycleController
from skerry.controllers.nodelifecycle.eviction import TaintEvictionController
from skerry.controllers.podgc.controller import PodGcController
from skerry.controllers.replicaset.controller import ReplicaSetController
from skerry.controllers.scheduler.controller import SchedulerController
from skerry.controllers.serviceaccount import ServiceAccountController
from skerry.controllers.serviceconditions.controller import ServiceConditionsController
from skerry.controllers.statefulset.controller import StatefulSetController
from skerry.controllers.storage.controller import StorageController

_log = logging.getLogger(__name__)


class Controller(Protocol):
    """What the manager starts."""

    async def run(self) -> None: ...


class Manager:
    """The running controllers."""

    def __init__(self, controllers: list[Controller]) -> None:
        self.controllers = controllers
        self._tasks = [asyncio.create_task(self._run(one), name=type(one).__name__) for one in controllers]

    @staticmethod
    async def _run(one: Controller) -> None:
        try:
            await one.run()
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("%s ended", type(one).__name__)
            raise

    async def stop(self) -> None:
        """Returns when all of them have ended; the caches are the caller's."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def run(
    client: Client,
    clock: Clock,
    informers: Informers,
    *,
    ca: str = "",
    directory: Callable[[str], str] | None = None,
) -> Manager:
    """Starts the caches and every controller; returns when the caches are filled.

    `ca` is the cluster's certificate authority as PEM, for the ConfigMap that every namespace has. `directory`: where a
    node's persistent volumes are, by its name; None: none are made.
    """
    kinds = Kinds(informers)
    manager = Manager(
        [
            EndpointsController(client, clock, informers),
            ServiceConditionsController(client, clock, informers),
            ReplicaSetController(client, clock, informers),
            DeploymentController(client, clock, informers),
            StatefulSetController(client, clock, informers),
            DaemonSetController(client, clock, informers),
            JobController(client, clock, informers),
            CronJobController(client, clock, informers),
            SchedulerController(client, clock, informers),
            NodeLifecycleController(client, clock, informers),
            TaintEvictionController(client, clock, informers),
            PodGcController(client, clock, informers),
            BudgetController(client, clock, informers),
            DefinitionController(client, clock, informers, kinds),
            GarbageController(client, clock, informers, kinds),
            NamespaceController(client, clock, informers, kinds),
            ServiceAccountController(client, clock, informers, ca),
            ClusterRoleController(client, clock, informers),
            EventAgeController(client, clock),
            IPAddressController(client, clock, informers),
            StorageController(client, clock, informers, directory),
        ]
    )
    await informers.start()
    await informers.synced()
    return manager
