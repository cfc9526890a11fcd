"""The words of a question and of its verdict: query, budget, rounding, arguments, child processes."""
