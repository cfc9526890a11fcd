"""Files of users, read with a bound on memory: arrays, TOML, and a look at a path before a byte is read."""
