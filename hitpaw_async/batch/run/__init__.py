"""What works while a batch is open: intake, submission, polling and fetching."""
