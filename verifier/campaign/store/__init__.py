"""The results of campaigns in one SQLite file: schema, records, leases, owners, merging, checks."""
