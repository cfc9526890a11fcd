"""Attacks measured: beside other libraries', their throughput, FGSM's accuracy, and the defences that they meet."""
