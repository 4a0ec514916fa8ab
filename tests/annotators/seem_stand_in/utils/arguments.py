"""Stands in for the reading of SEEM's configuration."""

import json


def load_opt_from_config_files(conf_files):
    options = {}
    for name in conf_files:
        with open(name, encoding="utf-8") as file:
            options.update(json.load(file))  # JSON is YAML
    return options
