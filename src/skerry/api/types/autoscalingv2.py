"""Kubernetes objects: autoscaling/v2 (see the .pyi beside this file)."""

from skerry.api.types._build import lazy

__getattr__, __dir__ = lazy("autoscalingv2")
