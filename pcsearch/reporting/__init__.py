"""What a campaign found: statistics, typed summaries, tables, published numbers to compare with."""
