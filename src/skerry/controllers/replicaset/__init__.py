"""ReplicaSets: as many pods as asked for. `decide` is pure, `controller` the shell around it."""
