"""An experiment file -> arms and claims, with everything that is wrong told in one go. May import parts and schema."""
