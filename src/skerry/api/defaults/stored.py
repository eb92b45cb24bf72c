"""Defaults of kinds that are stored and not acted on: NetworkPolicy, HorizontalPodAutoscaler."""

from __future__ import annotations

from skerry.api.types import autoscalingv2, networking


def networkpolicy(obj: networking.NetworkPolicy) -> None:
    spec = obj.spec
    for ports in [*(one.ports for one in spec.ingress), *(one.ports for one in spec.egress)]:
        for port in ports:
            port.protocol = port.protocol or "TCP"
    if not spec.policy_types:
        spec.policy_types = ["Ingress", "Egress"] if spec.egress else ["Ingress"]


def horizontalpodautoscaler(obj: autoscalingv2.HorizontalPodAutoscaler) -> None:
    if obj.spec.min_replicas is None:
        obj.spec.min_replicas = 1
    if not obj.spec.metrics:
        target = autoscalingv2.MetricTarget(type="Utilization", average_utilization=80)
        source = autoscalingv2.ResourceMetricSource(name="cpu", target=target)
        obj.spec.metrics = [autoscalingv2.MetricSpec(type="Resource", resource=source)]
    if obj.spec.behavior is not None:
        behavior = obj.spec.behavior
        behavior.scale_up = _rules(behavior.scale_up, 0, ("Pods", 4), ("Percent", 100))
        behavior.scale_down = _rules(behavior.scale_down, None, ("Percent", 100))


def _rules(
    given: autoscalingv2.HPAScalingRules | None, window: int | None, *policies: tuple[str, int]
) -> autoscalingv2.HPAScalingRules:
    rules = given or autoscalingv2.HPAScalingRules()
    rules.select_policy = rules.select_policy or "Max"
    if rules.stabilization_window_seconds is None:
        rules.stabilization_window_seconds = window
    if not rules.policies:
        rules.policies = [
            autoscalingv2.HPAScalingPolicy(type=kind, value=value, period_seconds=15) for kind, value in policies
        ]
    return rules
