"""Translation: files to graph to solver models. Knows no search and imports nothing of `verifier`."""
