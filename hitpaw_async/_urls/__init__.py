"""URLs: which of them may be fetched, and which video each of them names. Pure."""
