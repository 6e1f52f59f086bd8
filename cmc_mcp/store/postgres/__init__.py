"""PostgreSQL with pgvector: the same rows and the same statements, on a server that many processes share."""
