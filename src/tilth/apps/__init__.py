"""What people do with a run: so far, ask it a question (`apps.ask`)."""
