"""Proved bounds of a network over ball ∩ box: interval, CROWN, Lagrangian, half-spaces, LP tightening."""
