"""The referee for a list of instances of anybody's: how each ends, and who said what is not so."""
