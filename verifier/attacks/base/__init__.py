"""What all attacks share: the problem, the search loop, objectives, steps on the device, sweeps, walks."""
