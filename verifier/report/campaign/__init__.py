"""What is shown of many answers: tables, LaTeX, charts, one page, and the same page live."""
