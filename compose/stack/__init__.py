"""Real servers for the workbook, as local child processes."""
