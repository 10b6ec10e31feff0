"""What is checked, decoded and measured before the first trial starts."""
