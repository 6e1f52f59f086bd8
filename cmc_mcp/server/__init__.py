"""Serving over MCP: wiring, principals, transports."""
