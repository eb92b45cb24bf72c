"""The pod network of one node: which address a pod gets, and the links and routes that carry it."""
