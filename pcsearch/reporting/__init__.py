"""Results of a campaign: typed summaries, tables, figures, notes, published numbers."""
