"""One try at a next hop: SMTP, LMTP or a mailbox here; one Outcome for each recipient."""
