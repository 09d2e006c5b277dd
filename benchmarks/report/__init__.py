"""What turns results into the report."""
