"""The floor that touches the disk: spool, mailboxes, accounts."""
