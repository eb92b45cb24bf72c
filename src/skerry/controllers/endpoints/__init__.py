"""Services and pods in, Endpoints and EndpointSlices out: the heart of the project.

Read in this order: `members` (which pods count, and as what), `select` (which Services a pod's change touches),
`endpoints` and `truncate` (v1.Endpoints), `slices` (discovery.k8s.io/v1), `mirroring` (Endpoints written by people),
`trigger` (the timestamp of what caused a write), and last `controller`, the shell that feeds them from caches and
writes what they decide. Everything but the shell is pure: plain values in, plain values out.
"""
