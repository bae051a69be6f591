"""What survives a crash: stores, their lock, and the group commit in front of them."""
