"""Removes pods that nobody else will: of nodes that are gone, on nodes given up, never scheduled, ended long ago."""
