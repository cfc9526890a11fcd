"""The gate: requirements on robustness that proofs and witnesses settle, asked no longer than that takes."""
