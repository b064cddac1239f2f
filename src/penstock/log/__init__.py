"""The inference log: the journal's format, its reader, and the tables it is compacted into."""
