"""Compiled twins of the bounds, each under its numpy twin's name, and where compiled code is kept."""
