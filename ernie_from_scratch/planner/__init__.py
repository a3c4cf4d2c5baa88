"""Memory, time and the search over degrees of parallelism, by arithmetic."""
