"""Settings of the command line: configuration files, and those that a batch has kept."""
