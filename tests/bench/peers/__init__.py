"""Other systems at the same work, in the same run: ``make bench-peers``."""
