"""The floor that touches the network: sockets, TLS, DNS, control sockets, the clock."""
