"""What the shop has promised: jobs in a queue, and the workers that do them."""
