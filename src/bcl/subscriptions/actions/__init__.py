"""Acts on subscriptions: agreeing, preparing pages, delivering them."""
