"""What every part stands on: the configuration, the device and the cores."""
