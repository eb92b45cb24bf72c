"""Kubernetes objects: admissionregistration.k8s.io/v1 (see the .pyi beside this file)."""

from skerry.api.types._build import lazy

__getattr__, __dir__ = lazy("admissionregistration")
