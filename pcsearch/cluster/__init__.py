"""Ray as a service to the campaign: start or join it, and ask for its capacity."""
