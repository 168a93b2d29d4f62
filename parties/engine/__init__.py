"""Where protocols meet a channel: the slices in flight, their messages, and what is counted."""
