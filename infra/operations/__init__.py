"""Alarms, dashboard and saved queries."""
