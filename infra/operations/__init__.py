"""What operators look at: alarms, dashboard, saved queries."""
