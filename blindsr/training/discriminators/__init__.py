"""Discriminators of the adversarial stage: they tell sharp photos from restored ones, patch by patch."""
