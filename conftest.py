"""The suite's entry for pytest in a checkout: loads the plugin, nothing else."""

pytest_plugins = ["ivfixtures.suite.plugin"]
