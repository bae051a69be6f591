"""The batch: a durable journal, a poller, and the scheduler that owns them."""
