"""What a reader sees: tables, charts, figures."""
