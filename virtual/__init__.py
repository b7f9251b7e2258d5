"""Simulated hardware that speaks the real wire, seeded people, and the demo; production never imports it."""
