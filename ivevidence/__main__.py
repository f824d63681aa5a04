"""`python -m ivevidence`."""

from ivevidence.command_line import main

raise SystemExit(main())
