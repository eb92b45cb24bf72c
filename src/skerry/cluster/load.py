"""Putting an image archive into a cluster: the one function that `skerry load` calls.

The nodes share one image store, so one node unpacks for all. It is the node agent that unpacks, since files get the
ids of the cluster's user namespace; we hand it the archive over its unix socket.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from skerry.cluster import entrance, lifecycle, state
from skerry.cluster.errors import ClusterError
from skerry.cluster.unixhttp import UnixConnection

SECONDS = 600.0


def load(name: str, archive: str) -> list[str]:
    """Load `archive` into cluster `name`; the names of its images. ClusterError if it is none, or nothing runs."""
    path = Path(archive)
    if not path.is_file():
        raise ClusterError(f"There is no file {archive}.")
    paths, found = lifecycle.existing(name)
    if state.holder(paths) is None:
        raise ClusterError(f'Cluster "{name}" is not running: `skerry up` starts it.')
    nodes = list(entrance.node_processes(paths))
    if not nodes:
        raise ClusterError(f'Cluster "{name}" has no node that could hold images ({found.nodes} wanted).')
    connection = UnixConnection(str(paths.node_socket(nodes[0])), SECONDS)
    try:
        with path.open("rb") as file:
            length = {"Content-Length": str(path.stat().st_size), "Content-Type": "application/x-tar"}
            connection.request("POST", "/images/load", body=file, headers=length)
            answer = connection.getresponse()
            body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(f"{nodes[0]} does not take images ({error}): see {paths.node_log(nodes[0])}.") from None
    finally:
        connection.close()
    if answer.status != 200:
        said = body.decode(errors="replace").strip().splitlines() or [f"{nodes[0]} answered {answer.status}"]
        raise ClusterError(f"{archive}: {said[0].rstrip(':')}.")
    return [str(image) for image in json.loads(body)["images"]]
