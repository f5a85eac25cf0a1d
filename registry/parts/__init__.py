"""The catalogue of parts, read from their source. May import schema."""
