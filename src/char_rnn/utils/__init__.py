"""What every part stands on: the configuration and the device."""
