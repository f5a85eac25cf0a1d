"""What may be written: the spec, the protocol, claims, searches and resources as strict models. The lowest room."""
