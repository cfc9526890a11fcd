"""Queries of VNN-LIB 2 with known answers: the standard's conformance suite, and one of our own about precision."""
