"""What is learned: a batch becomes a Loss with named metrics."""
