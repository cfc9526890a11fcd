"""What makes an answer trustworthy: rigorous rounding terms."""
