"""What goes out: progress, tables, JSON lines and messages."""
