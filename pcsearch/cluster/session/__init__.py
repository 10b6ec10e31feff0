"""A Ray session: started here on loopback, or joined. It knows nothing of trials."""
