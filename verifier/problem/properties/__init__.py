"""General properties: formulas over inputs and outputs, read exactly, and taken apart into boxes and half-spaces."""
