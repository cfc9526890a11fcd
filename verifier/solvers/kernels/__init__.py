"""Compiled twins of a tree's node and of its simplex, and whether they are at hand."""
