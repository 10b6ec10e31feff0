"""The command line: one file a command. It prints and exits; it decides nothing."""
