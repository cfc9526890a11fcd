"""Rows that every point of a query satisfies, bounds that follow from them, and what contradictions teach."""
