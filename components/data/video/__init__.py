"""Reading videos exactly: indexing, readers, folders of frames."""
