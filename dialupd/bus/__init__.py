"""The edge to D-Bus: `front.serve` shows the daemon, `client.Client` is for those who ask it."""
