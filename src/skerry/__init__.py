"""Skerry: a small Kubernetes whose heart is the path Service -> Endpoints -> proxy -> pod."""

__version__ = "0.1.0"
