"""What a campaign asks, as data: plan, selection, tasks, messages, identities."""
