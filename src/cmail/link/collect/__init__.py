"""Collecting mail from mailboxes elsewhere (POP3, IMAP): fetched once, never lost."""
