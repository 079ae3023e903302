welcome: Baked, not built by hand.
contact: the bakers
