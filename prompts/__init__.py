"""The MCP prompts: one Markdown file each, and the loader."""
