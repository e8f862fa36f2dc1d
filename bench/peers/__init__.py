"""What a user would pick instead: one file a peer, each with ``IMPLEMENTATIONS``."""
