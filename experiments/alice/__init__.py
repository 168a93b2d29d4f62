"""What the hospital's side writes of a session with a provider."""
