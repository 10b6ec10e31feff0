"""From confirm trials to a verdict: gains, intervals, and what a plan cannot show."""
