"""What an operator starts: the launch command and the tools beside a running engine."""
