"""What the world is told of a message's life: log lines and figures."""
