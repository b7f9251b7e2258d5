"""The main job, run to its end with one command: every party as its own process, over real components."""
