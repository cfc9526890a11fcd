"""What is shown of one answer: JSON, terminal, pictures, captions, rounding outwards."""
