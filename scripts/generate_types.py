"""Makes src/skerry/api/types: the Kubernetes objects as one compact table, and .pyi files so that mypy knows them.

Run by hand when the reported Kubernetes version changes:

    python scripts/generate_types.py --api DIR --apimachinery DIR --apiextensions DIR

where the directories are checkouts of the repositories kubernetes/api, kubernetes/apimachinery and
kubernetes/apiextensions-apiserver (field names, field numbers, pointers, merge keys: facts read from the
declarations). Fields that the 1.36 definitions of the PyPI package
`kubernetes-validate` do not know are left out; what is required comes from there as well. No sentence is copied.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import keyword
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSION = "v1.36.0-local"
OUT = Path(__file__).parent.parent / "src/skerry/api/types"

# module of ours -> (folder, API group, version, prefix of the definitions)
MODULES = {
    "meta": ("apimachinery:pkg/apis/meta/v1", "", "v1", "io.k8s.apimachinery.pkg.apis.meta.v1"),
    "core": ("api:core/v1", "", "v1", "io.k8s.api.core.v1"),
    "apps": ("api:apps/v1", "apps", "v1", "io.k8s.api.apps.v1"),
    "batch": ("api:batch/v1", "batch", "v1", "io.k8s.api.batch.v1"),
    "discovery": ("api:discovery/v1", "discovery.k8s.io", "v1", "io.k8s.api.discovery.v1"),
    "networking": ("api:networking/v1", "networking.k8s.io", "v1", "io.k8s.api.networking.v1"),
    "coordination": ("api:coordination/v1", "coordination.k8s.io", "v1", "io.k8s.api.coordination.v1"),
    "events": ("api:events/v1", "events.k8s.io", "v1", "io.k8s.api.events.v1"),
    "policy": ("api:policy/v1", "policy", "v1", "io.k8s.api.policy.v1"),
    "rbac": ("api:rbac/v1", "rbac.authorization.k8s.io", "v1", "io.k8s.api.rbac.v1"),
    "autoscaling": ("api:autoscaling/v1", "autoscaling", "v1", "io.k8s.api.autoscaling.v1"),
    "autoscalingv2": ("api:autoscaling/v2", "autoscaling", "v2", "io.k8s.api.autoscaling.v2"),
    "storage": ("api:storage/v1", "storage.k8s.io", "v1", "io.k8s.api.storage.v1"),
    "scheduling": ("api:scheduling/v1", "scheduling.k8s.io", "v1", "io.k8s.api.scheduling.v1"),
    "node": ("api:node/v1", "node.k8s.io", "v1", "io.k8s.api.node.v1"),
    "authentication": ("api:authentication/v1", "authentication.k8s.io", "v1", "io.k8s.api.authentication.v1"),
    "authorization": ("api:authorization/v1", "authorization.k8s.io", "v1", "io.k8s.api.authorization.v1"),
    "admissionregistration": (
        "api:admissionregistration/v1",
        "admissionregistration.k8s.io",
        "v1",
        "io.k8s.api.admissionregistration.v1",
    ),
    "apiextensions": (
        "apiextensions:pkg/apis/apiextensions/v1",
        "apiextensions.k8s.io",
        "v1",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    ),
}
IMPORTS = {"metav1": "meta", "v1": "core", "corev1": "core", "api": "core", "apiv1": "core"}
SCALARS = {
    "string": "str",
    "bool": "bool",
    "int": "int64",
    "int32": "int32",
    "int64": "int64",
    "uint8": "int32",
    "uint32": "int32",
    "uint64": "int64",
    "float64": "float",
    "[]byte": "bytes",
    "types.UID": "str",
    "types.NodeName": "str",
    "metav1.Time": "Time",
    "Time": "Time",
    "metav1.MicroTime": "MicroTime",
    "MicroTime": "MicroTime",
    "metav1.Duration": "Duration",
    "Duration": "Duration",
    "resource.Quantity": "Quantity",
    "intstr.IntOrString": "IntOrString",
    "runtime.RawExtension": "Raw",
    "runtime.Object": "Raw",
    "FieldsV1": "Raw",
    "metav1.FieldsV1": "Raw",
    "JSONSchemaProps": "JSONSchemaProps",  # refers to itself: kept as plain values (api/schema.py, api/structural/)
}
PYTHON = {
    "str": "str",
    "bool": "bool",
    "int32": "int",
    "int64": "int",
    "float": "float",
    "bytes": "str",
    "Time": "str",
    "MicroTime": "str",
    "Duration": "str",
    "Quantity": "str",
    "IntOrString": "int | str",
    "Raw": "dict[str, Any]",
    "JSONSchemaProps": "dict[str, Any]",
}


@dataclass
class Field:
    json: str
    type: str
    number: int
    pointer: bool
    omit: bool
    inline: bool = False
    required: bool = False
    patch: str = ""
    keys: list[str] = field(default_factory=list)
    shape: str = ""
    """For server-side apply: "a" taken as a whole, "g" field by field though its struct is taken as a whole."""
    default: Any = None


@dataclass
class Struct:
    name: str
    kind: bool
    fields: list[Field]
    atomic: bool = False


# Kinds of our own, which have no Go declaration: module -> (group, version, prefix of the definitions, structs).
OWN = {
    "skerry": (
        "skerry.dev",
        "v1alpha1",
        "dev.skerry.v1alpha1",
        [
            Struct(
                "Acknowledgement",
                True,
                [
                    Field("metadata", "meta.ObjectMeta", 1, pointer=False, omit=True),
                    Field("spec", "skerry.AcknowledgementSpec", 2, pointer=False, omit=True),
                    Field("status", "skerry.AcknowledgementStatus", 3, pointer=False, omit=True),
                ],
            ),
            Struct(
                "AcknowledgementSpec",
                False,
                [
                    Field("nodeName", "str", 1, pointer=False, omit=False, required=True),
                    Field("component", "str", 2, pointer=False, omit=False, required=True),
                ],
            ),
            Struct(
                "AcknowledgementStatus",
                False,
                [
                    Field("appliedRevision", "int64", 1, pointer=False, omit=True),
                    Field("appliedServiceRevision", "int64", 2, pointer=False, omit=True),
                ],
            ),
        ],
    )
}


def snake(name: str) -> str:
    """clusterIPs -> cluster_i_ps: as the official Python client splits names."""
    out = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name.replace("$", "_").replace("-", "_"))
    out = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", out).lower()
    return out + "_" if keyword.iskeyword(out) else out


class Reader:
    """The Go declarations of all modules."""

    def __init__(self, roots: dict[str, Path]) -> None:
        self.aliases: dict[str, dict[str, str]] = {}
        self.bodies: dict[str, dict[str, str]] = {}
        for module, (where, *_) in MODULES.items():
            repo, folder = where.split(":")
            text = "\n".join(
                path.read_text()
                for path in sorted((roots[repo] / folder).glob("*.go"))
                if not path.name.startswith(("zz_", "generated")) and not path.name.endswith("_test.go")
            )
            self.bodies[module] = dict(re.findall(r"^type (\w+) struct \{(.*?)^\}", text, re.M | re.S))
            self.bodies[module] |= dict.fromkeys(re.findall(r"^type (\w+) struct *\{\}$", text, re.M), "")
            found = re.findall(r"^type (\w+) ([\w.\[\]*]+)$", text, re.M)
            found += re.findall(r"^type (\w+) = ([\w.\[\]*]+)$", text, re.M)
            self.aliases[module] = dict(found)

    def type_of(self, module: str, go: str) -> str:
        """A Go type as an entry of our table: str, core.PodSpec, []x, map:x."""
        if go in SCALARS:
            return SCALARS[go]
        if go.startswith("*"):
            return self.type_of(module, go[1:])
        if go.startswith("[]"):
            return "[]" + self.type_of(module, go[2:])
        if go.startswith("map["):
            return "map:" + self.type_of(module, go[go.index("]") + 1 :])
        owner, _, name = go.rpartition(".")
        owner = IMPORTS.get(owner, owner) if owner else module
        if name in self.bodies.get(owner, {}):
            return f"{owner}.{name}"
        if name in self.aliases.get(owner, {}):
            inner = self.type_of(owner, self.aliases[owner][name])
            return "items:" + inner if name in ("ExtraValue", "Verbs") else inner
        raise KeyError(f"{module}: {go}")

    def struct(self, module: str, name: str) -> Struct:
        fields: list[Field] = []
        kind = False
        comments: list[str] = []
        for line in self.bodies[module][name].splitlines():
            line = line.strip()
            if line.startswith("//"):
                comments.append(line[2:].strip())
                continue
            match = re.match(r"(?:(\w+)\s+)?([\w.\[\]*]+)\s+`(.*)`", line)
            if not match:
                comments = []
                continue
            _, go, tags = match.groups()
            tag = dict(re.findall(r'(\w+):"([^"]*)"', tags))
            if go.endswith("TypeMeta"):
                kind = True
                continue
            proto = tag.get("protobuf", "")
            json_name, _, options = tag.get("json", "").partition(",")
            if not proto or json_name == "-":
                comments = []
                continue
            keys = [c.split("=", 1)[1] for c in comments if c.startswith("+listMapKey=")]
            list_type = next((c.split("=", 1)[1] for c in comments if c.startswith("+listType=")), "")
            marks = {word for c in comments for word in (c.removeprefix("+").partition("Type=")[2],) if "Type=" in c}
            default = next((c.split("=", 1)[1] for c in comments if c.startswith("+default=")), "null")
            strategy = ",".join(filter(None, (tag.get("patchStrategy", ""), tag.get("patchMergeKey", ""))))
            made = Field(
                json=json_name,
                type=self.type_of(module, go),
                number=int(proto.split(",")[1]),
                pointer=go.startswith("*"),
                omit="omitempty" in options or "omitzero" in options,
                inline=not json_name,
                patch=strategy,
                keys=keys or ([list_type] if list_type in ("set",) else []),
                shape="a" if "atomic" in marks else "g" if "granular" in marks else "",
                default=json.loads(default) if default.startswith('"') else None,
            )
            fields.append(made)
            comments = []
        return Struct(name, kind, fields)


def load(roots: dict[str, Path]) -> dict[str, dict[str, Struct]]:
    """All structs that are kinds, or that a kind reaches; fields newer than VERSION dropped."""
    path = importlib.resources.files("kubernetes_validate") / "kubernetes-json-schema" / VERSION / "_definitions.json"
    known = json.loads(path.read_text())["$defs"]
    reader = Reader(roots)
    done: dict[str, dict[str, Struct]] = {module: {} for module in MODULES}

    def visit(module: str, name: str, around: dict[str, Any] | None = None) -> None:
        """Reads a struct; an inlined one has no definition of its own but is part of the one `around` it."""
        if name in done[module]:
            return
        struct = reader.struct(module, name)
        done[module][name] = struct
        definition = known.get(f"{MODULES[module][3]}.{name}", around)
        if definition is not None and "properties" in definition:
            properties, required = definition["properties"], definition.get("required", [])
            struct.atomic = definition is not around and definition.get("x-kubernetes-map-type") == "atomic"
            struct.fields = [f for f in struct.fields if f.inline or f.json in properties]
            for f in struct.fields:
                f.required = f.json in required
                if not f.keys:
                    f.keys = properties.get(f.json, {}).get("x-kubernetes-list-map-keys", [])
        for f in struct.fields:
            inner = f.type.replace("[]", "").replace("map:", "").replace("items:", "")
            if "." in inner:
                owner, _, type_name = inner.partition(".")
                visit(owner, type_name, definition if f.inline else None)

    for module in MODULES:
        for name in reader.bodies[module]:
            wanted = re.search(r"TypeMeta +`", reader.bodies[module][name]) and f"{MODULES[module][3]}.{name}" in known
            if wanted and not name.endswith("List"):
                visit(module, name)
    for name in ("ObjectMeta", "ListMeta", "LabelSelector", "Status", "DeleteOptions", "PatchOptions", "Condition"):
        visit("meta", name)
    for name in ("ValidationRule", "ExternalDocumentation"):  # parts of a JSONSchemaProps
        visit("apiextensions", name)
    return done


def annotation(module: str, entry: str) -> str:
    if entry.startswith("[]"):
        return f"list[{annotation(module, entry[2:])}]"
    if entry.startswith("map:"):
        return f"dict[str, {annotation(module, entry[4:])}]"
    if entry.startswith("items:"):
        return annotation(module, entry[6:])
    if "." in entry:
        owner, name = entry.split(".")
        return name if owner == module else f"{owner}.{name}"
    return PYTHON[entry]


def flat(structs: dict[str, dict[str, Struct]], struct: Struct) -> list[Field]:
    """The fields as JSON has them: inlined structs opened up."""
    out: list[Field] = []
    for f in struct.fields:
        if f.inline:
            owner, name = f.type.split(".")
            out += flat(structs, structs[owner][name])
        else:
            out.append(f)
    return out


def optional(f: Field) -> bool:
    return f.pointer or f.type in ("Time", "MicroTime", "Raw", "JSONSchemaProps", "Duration")


def stub(module: str, structs: dict[str, dict[str, Struct]]) -> str:
    lines = [
        "# Written by scripts/generate_types.py. Do not edit.",
        "from typing import Any",
        "",
        "from msgspec import Raw, Struct" if module == "meta" else "from msgspec import Struct",
        "",
    ]
    body: list[str] = []
    used: set[str] = set()
    for struct in structs[module].values():
        body.append(f"class {struct.name}(Struct, kw_only=True):")
        rows = [("kind", "str"), ("api_version", "str")] if struct.kind else []
        for f in flat(structs, struct):
            # Kept as bytes: api/rawfields.py.
            text = "Raw" if f.json == "managedFields" else annotation(module, f.type)
            used.update(re.findall(r"(\w+)\.\w+", text))
            rows.append((snake(f.json), f"{text} | None" if optional(f) else text))
        body += [f"    {name}: {text} = ..." for name, text in rows] or ["    pass"]
        body.append("")
    imports = sorted(used - {module})
    if imports:
        lines += [f"from skerry.api.types import {', '.join(imports)}", ""]
    return "\n".join(lines + body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--api", type=Path, required=True)
    parser.add_argument("--apimachinery", type=Path, required=True)
    parser.add_argument("--apiextensions", type=Path, required=True)
    options = parser.parse_args()
    roots = {"api": options.api, "apimachinery": options.apimachinery, "apiextensions": options.apiextensions}
    structs = load(roots)
    structs |= {module: {one.name: one for one in own} for module, (*_, own) in OWN.items()}
    described = {module: where[1:] for module, where in MODULES.items()}
    described |= {module: where[:3] for module, where in OWN.items()}
    table: dict[str, object] = {}
    everything = [f for found in structs.values() for struct in found.values() for f in struct.fields]
    keyed = {(f.type.rpartition(".")[2], key) for f in everything for key in f.keys}
    for module, found in structs.items():
        rows = {}
        for struct in found.values():
            rows[struct.name] = [
                [
                    f.json,
                    f.type,
                    f.number,
                    "".join(
                        c
                        for c, on in (
                            ("p", optional(f)),
                            ("o", f.omit),
                            ("r", f.required),
                            ("i", f.inline),
                            (f.shape, f.shape),
                        )
                        if on
                    ),
                    f.patch,
                    f.keys,
                    *([f.default] if f.default is not None and (struct.name, f.json) in keyed else []),
                ]
                for f in struct.fields
            ]
        group, version, prefix = described[module]
        kinds = [s.name for s in found.values() if s.kind]
        table[module] = {
            "group": group,
            "version": version,
            "definitions": prefix,
            "kinds": kinds,
            "atomic": [one.name for one in found.values() if one.atomic],
            "structs": rows,
        }
        (OUT / f"{module}.pyi").write_text(stub(module, structs))
        (OUT / f"{module}.py").write_text(
            f'"""Kubernetes objects: {group or "core"}/{version} (see the .pyi beside this file)."""\n\n'
            "from skerry.api.types._build import lazy\n\n"
            f'__getattr__, __dir__ = lazy("{module}")\n'
        )
    lines = []
    for module, content in table.items():
        assert isinstance(content, dict)
        inner = ",\n".join(
            f"  {json.dumps(name)}:{json.dumps(rows, separators=(',', ':'))}"
            for name, rows in content["structs"].items()
        )
        head = json.dumps({k: v for k, v in content.items() if k != "structs"}, separators=(",", ":"))[:-1]
        lines.append(f'"{module}":{head},"structs":{{\n{inner}\n}}}}')
    (OUT / "table.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
