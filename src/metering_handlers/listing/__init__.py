"""Lists: queries of the metering table, pages, totals, and what became of each record."""
