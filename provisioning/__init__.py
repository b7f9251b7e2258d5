"""The technician's side: authority, identities, configuration."""
