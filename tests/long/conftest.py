"""The long tests use real clusters as the end-to-end tests do, and show them alike when they fail."""

from __future__ import annotations

from tests.e2e.conftest import new_cluster, pytest_runtest_makereport

__all__ = ["new_cluster", "pytest_runtest_makereport"]
