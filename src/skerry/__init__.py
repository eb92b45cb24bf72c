"""Skerry: a small Kubernetes whose heart is the path Service -> Endpoints -> proxy -> pod."""

__version__ = "0.1.0"

KUBERNETES = "v1.36.0"
"""The release of Kubernetes whose API is served."""

REPORTED = f"{KUBERNETES}+skerry.{__version__}"
"""What the API server and the nodes say when they are asked for their version."""
