"""A schema ready for use: one object, made when a definition is served. Called by the API server's custom kinds."""

from __future__ import annotations

from typing import Any

from skerry.api.status import FieldError
from skerry.api.structural import embedded, lists, prune, values
from skerry.api.structural.node import MISSING, Node, parse


class Schema:
    """Of the whole object; what is given to it are the fields beside apiVersion, kind and metadata."""

    def __init__(self, source: dict[str, Any]) -> None:
        """`source` has passed rules.check."""
        self.source = source
        self.root: Node = parse(source)
        self.root.properties = {key: one for key, one in self.root.properties.items() if key not in prune.META}
        body = {**source, "required": [one for one in source.get("required", ()) if one not in prune.META]}
        body["properties"] = {key: one for key, one in source.get("properties", {}).items() if key not in prune.META}
        self._check = values.compile_check(body)
        status = body["properties"].get("status")
        self._status = values.compile_check(status) if status is not None else None

    def clean(self, content: dict[str, Any]) -> list[str]:
        """Prunes and defaults in place; the paths of unknown fields, sorted."""
        unknown: list[str] = []
        prune.drop_nulls(content, self.root)
        prune.default(content, self.root)
        prune.prune(content, self.root, "", unknown)
        return sorted(unknown)

    def validate(self, content: dict[str, Any], old: dict[str, Any] | None = None) -> list[FieldError]:
        """What is wrong with a new object, or with changing `old` into it."""
        out: list[FieldError] = []
        self._check(content, "", out, MISSING if old is None else old)
        out += embedded.check(content, self.root, "")
        if self.root.has_lists and (old is None or not lists.check(old, self.root, "")):
            out += lists.check(content, self.root, "")
        return out

    def validate_status(self, content: dict[str, Any], old: dict[str, Any]) -> list[FieldError]:
        """What is wrong with a write of the status alone."""
        out: list[FieldError] = []
        if self._status is not None and "status" in content:
            self._status(content["status"], "status", out, old.get("status", MISSING))
        node = self.root.properties.get("status")
        if node is not None and not lists.check(old.get("status"), node, "status"):
            out += lists.check(content.get("status"), node, "status")
        return out
