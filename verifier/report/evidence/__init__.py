"""An evidence pack, shown: its statement in words, its JSON, its page."""
