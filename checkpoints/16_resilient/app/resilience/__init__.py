"""When things fail or are late: deadlines, limits, retries and breakers."""
