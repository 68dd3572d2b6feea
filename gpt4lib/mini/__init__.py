"""The described system, runnable at laptop scale."""
