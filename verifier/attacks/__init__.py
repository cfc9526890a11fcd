"""Attacks, one a file: they propose candidates, `runtime.witness` disposes."""
