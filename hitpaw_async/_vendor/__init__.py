"""The vendor as this package calls it: credentials, settings, calls and their retries, waiting for a job."""
