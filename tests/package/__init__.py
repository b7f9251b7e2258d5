"""The unit's Debian package, installed for real: `make test-deb`."""
