"""What is seen of a service's servers, now and lately."""
