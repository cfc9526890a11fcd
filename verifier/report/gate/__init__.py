"""What is shown of a gate: terminal, JSON, JUnit, Markdown with GitHub's annotations, SARIF."""
