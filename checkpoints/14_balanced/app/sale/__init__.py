"""What sells: one transaction for everybody who bought while the last one was committed."""
