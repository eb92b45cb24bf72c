"""What containers print. format.py: lines of a log (pure). writer.py: pipes to files. reader.py: files to people.

Called by node/agent and node/streams. A log is a pair of files in CRI's format, `<restart>.log` and, once that has been
full, `<restart>.log.1` before it.
"""
