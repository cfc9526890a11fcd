"""Proofs to keep: certificates built, written, and checked by a checker that stands alone."""
