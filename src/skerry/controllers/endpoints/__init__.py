"""Services and pods in, Endpoints and EndpointSlices out: the heart of the project.

Read in this order: `members` (which pods count, and as what), `select` (which Services a pod's change touches),
`roster`, `truncate` and `endpoints` (v1.Endpoints), `slices`, `placement`, `hints` and `topology`
(discovery.k8s.io/v1), `mirroring` (Endpoints written by people), `trigger` (the timestamp of what caused a write),
`books` (what is kept of each Service from one change to the next). All of these are pure: plain values in, plain
values out. Then the shells that feed them from caches and write what they decide: `sync_endpoints`, `sync_slices`,
`sync_mirror`, `slice_writer`, and `controller`, which says what an event leads to.
"""
