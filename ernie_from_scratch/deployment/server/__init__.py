"""The HTTP server: application, request models and dynamic batching."""
