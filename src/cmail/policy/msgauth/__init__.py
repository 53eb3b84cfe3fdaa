"""Who may say that a message is theirs: SPF, DMARC records."""
