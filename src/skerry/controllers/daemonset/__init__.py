"""DaemonSets: a pod on every node that should have one. `decide` is pure, `controller` the shell around it."""
