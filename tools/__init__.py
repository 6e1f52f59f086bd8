"""The MCP tools: one file each, with its arguments, its description, its handler and its answer."""
