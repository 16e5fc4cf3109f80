"""The configuration: its schema, its reading with one-line errors, its writing. No PyTorch."""

from char_rnn.utils.config.fields import ConfigError
from char_rnn.utils.config.loading import (
    Override,
    compose_config,
    config_from_dict,
    load_config,
    read_setting,
    recipes,
    with_settings,
)
from char_rnn.utils.config.model import ModelConfig
from char_rnn.utils.config.schema import Config, DataConfig, DeviceConfig, GenerationConfig, LoggingConfig, to_yaml
from char_rnn.utils.config.training import TrainingConfig

__all__ = [
    "Config",
    "ConfigError",
    "DataConfig",
    "DeviceConfig",
    "GenerationConfig",
    "LoggingConfig",
    "ModelConfig",
    "Override",
    "TrainingConfig",
    "compose_config",
    "config_from_dict",
    "load_config",
    "read_setting",
    "recipes",
    "to_yaml",
    "with_settings",
]
