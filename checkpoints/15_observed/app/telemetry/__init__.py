"""What the service tells of itself: traces and metrics."""
