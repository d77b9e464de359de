"""The reference replicator: ordered, byte-level replication of a protected set of files."""
