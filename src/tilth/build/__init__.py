"""The main job: a plan, its steps, and the run folder that explains itself."""
