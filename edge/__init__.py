"""The agent on a unit: capture, seal, spool, uplink; personalisation on a station; handover on a desk."""
