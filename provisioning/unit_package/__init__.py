"""The unit's Debian package: `make deb`."""
