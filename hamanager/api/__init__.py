"""What clients of the daemon and the daemon itself say to each other."""
