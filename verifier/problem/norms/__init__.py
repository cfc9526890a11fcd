"""One norm, one class: lengths, balls, the support function, and what solvers ask of them."""
