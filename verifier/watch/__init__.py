"""A campaign's report while it runs: the same page, served read-only, changes pushed to it."""
