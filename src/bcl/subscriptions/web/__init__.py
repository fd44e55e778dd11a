"""The staff pages of subscriptions: who gets which data, and how far they are."""
