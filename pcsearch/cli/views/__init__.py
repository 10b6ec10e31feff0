"""Output of commands: tables, the live view, plain lines. Views format; they decide nothing."""
