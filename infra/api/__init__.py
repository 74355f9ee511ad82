"""The REST API: routes, gateway responses, firewall."""
