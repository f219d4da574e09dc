"""The embedded data, as files of the package: see `upconv.nn.data`."""
