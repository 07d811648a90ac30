"""What the records of one or more runs say."""
