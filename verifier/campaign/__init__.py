"""Campaigns: many questions, one store. Processes and clusters work a plan off; what is interrupted goes on."""
