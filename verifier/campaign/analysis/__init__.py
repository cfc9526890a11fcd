"""What a store's results say: tables, comparisons, certified accuracy, quality of attacks, progress."""
