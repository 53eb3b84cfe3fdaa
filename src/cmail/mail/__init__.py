"""The words of the field, as values: addresses, envelopes, replies, outcomes. Pure."""
