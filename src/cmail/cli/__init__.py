"""The commands: cmail, sendmail, mailq, newaliases."""
