"""What ships for a Pi, tried under aarch64 on any Debian machine (root; not in make test)."""
