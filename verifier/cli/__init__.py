"""The terminal: options, commands, exit codes, the time limit of a whole command."""
