"""Pure decisions: no module here awaits, reads a clock, draws a random number or touches the world."""
