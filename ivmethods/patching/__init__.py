"""Interventions on the residual stream, their controls, and checks that they do what they say."""
