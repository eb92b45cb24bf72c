"""The one exception that carries a sentence for the person at the terminal.

Raised by everything in `cluster`; the command line prints it and exits 1, and the daemon sends it up its progress pipe.
"""

from __future__ import annotations


class ClusterError(Exception):
    """One plain sentence: what failed and what to do about it."""
