"""The input beside the model: arrays, images, CSV, the box, and how a flat input is an image."""
