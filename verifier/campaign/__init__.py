"""Campaigns: many questions, one store. A plan says which; whatever is interrupted goes on where it stopped."""
