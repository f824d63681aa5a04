"""`python -m ivevidence`."""

from ivevidence.compare.command_line import main

raise SystemExit(main())
