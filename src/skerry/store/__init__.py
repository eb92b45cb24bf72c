"""A revisioned key-value store with watch, after etcd's model. Called by apiserver/ alone; opened by cluster/.

`base` says what a store is, `embedded` keeps everything in memory with `log` (SQLite) under it.
"""
