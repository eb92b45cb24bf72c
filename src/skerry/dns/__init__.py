"""Cluster DNS: `records` decides (pure), `server` listens, `forward` asks the machine's own resolvers."""
