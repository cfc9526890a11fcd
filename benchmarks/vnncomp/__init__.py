"""The competition of neural network verifiers (VNN-COMP): its instances, its run scripts, its verdicts beside ours."""
