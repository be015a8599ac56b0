"""Agents: the SDK that makes a function one, and the runs that say who may work on a task and how it ended."""
