"""Ray as a service to the campaign: start or join it, and ask what it can run at once."""
