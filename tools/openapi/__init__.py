"""The OpenAPI document, generated from the functions, and a page to read it and try the API."""
