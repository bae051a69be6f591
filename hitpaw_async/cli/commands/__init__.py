"""The commands, a module each; a command's module is loaded when the command is run."""
