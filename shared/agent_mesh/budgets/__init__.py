"""Budgets that no race can overspend: what each agent may spend in a UTC day, and what of it is reserved or spent."""

from agent_mesh.budgets.store import Budgets, BudgetState, Reservation, day_budget_id

__all__ = ["BudgetState", "Budgets", "Reservation", "day_budget_id"]
