"""StatefulSets: pods with names, one after the other. `decide` is pure, `controller` the shell around it."""
