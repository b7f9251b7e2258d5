"""The 1:N search over fingers and irises."""
