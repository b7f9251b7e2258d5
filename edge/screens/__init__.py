"""The unit's pages and the JSON API behind them, on loopback only."""
