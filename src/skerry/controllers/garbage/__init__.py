"""The garbage collector: what is owned goes with its owners. `graph` knows and decides, `controller` is the shell."""
