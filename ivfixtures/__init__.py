"""What a claim is tested on: checkpoints, tasks, options, fixtures."""
