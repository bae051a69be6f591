"""What a batch tells: events, their hub and log, and the statistics of a moment."""
