"""Many objects at once: the batch, and streams of any length."""
