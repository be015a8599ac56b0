"""Dispatch: a task's way from a caller to an agent and its result's way back."""
