"""What is kept in memory to search a workspace: its vectors, its sections, its words. It answers as the rows do."""
