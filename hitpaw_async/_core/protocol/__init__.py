"""The vendor's words: calls, replies and dialects, one module an API. Pure."""
