"""The Kubernetes objects as typed values: `from skerry.api.types import core`, then `core.Pod(...)`.

Written by scripts/generate_types.py into one compact table (table.json); a Struct is built from its rows when it is
first asked for, so that a process pays only for the kinds it uses. The .pyi files tell type checkers the same.
Everybody above calls this.
"""
