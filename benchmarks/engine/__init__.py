"""The engine beside itself: ablations, sizes, limits, start, certificates, and random nets with exact answers."""
