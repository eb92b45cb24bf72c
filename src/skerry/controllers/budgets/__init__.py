"""Keeps the status of PodDisruptionBudgets, which the eviction of pods asks: how many of them may go now."""
