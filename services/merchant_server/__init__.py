"""merchant-server: a mock merchant that misbehaves on command and keeps a ledger."""
