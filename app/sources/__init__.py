"""What can tell us something: webhooks, SDKs, CloudEvents. Keeps what came in, reads it, hands it to the engine."""
