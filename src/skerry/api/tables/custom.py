"""What is printed of custom objects: the columns of their definition, or the age (T1). Called by tables."""

from __future__ import annotations

from typing import Any

from skerry.api.custom import CustomResource, with_row
from skerry.api.structural.paths import Path
from skerry.api.structural.paths import printed as as_text
from skerry.api.tables.column import NAME, Column, column
from skerry.api.tables.duration import since
from skerry.api.unstructured import Unstructured

_AGE = column("Age", "When the object was created.", type="date")


@with_row
def printed(row: CustomResource) -> tuple[tuple[Column, ...], tuple[Path, ...]]:
    """The columns, and where all but the first come from."""
    found = row.of_version.additional_printer_columns
    if not found:
        return (NAME, _AGE), (Path(".metadata.creationTimestamp"),)
    made = [
        Column(
            one.name,
            one.type,
            one.format,
            one.description or f"Custom resource definition column (in JSONPath format): {one.json_path}",
            one.priority,
        )
        for one in found
    ]
    return (NAME, *made), tuple(Path(one.json_path) for one in found)


def cells(obj: Unstructured, now: float) -> list[Any]:
    """The cells of one object."""
    from skerry.api import codec

    row = obj.row
    assert isinstance(row, CustomResource)
    columns, paths = printed(row)
    fields = obj.fields()
    if any(path.text.startswith(".metadata") for path in paths):
        fields["metadata"] = codec.plain(obj.metadata)
    out: list[Any] = [obj.metadata.name]
    for one, path in zip(columns[1:], paths, strict=True):
        found = path.find(fields)
        out.append(_cell(one.type, found[0], now) if found else None)
    return out


def _cell(kind: str, value: Any, now: float) -> Any:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "string":
            return as_text(value)
        case "integer":
            return int(value) if number else None
        case "number":
            return float(value) if number else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date" if isinstance(value, str):
            try:
                return since(value, now)
            except ValueError:
                return "<invalid>"
    return None
