"""Structural schemas: what a CustomResourceDefinition says of its objects, and what the API server does with it. Pure.

`Schema` is made once a version of a definition; then, for each object that is written:

    prune (unknown fields go, and are told) -> default -> validate (types, values, lists)

`rules` checks a schema itself before it is accepted.
"""

from __future__ import annotations

from skerry.api.structural.node import MISSING, Node, parse
from skerry.api.structural.schema import Schema

__all__ = ["MISSING", "Node", "Schema", "parse"]
