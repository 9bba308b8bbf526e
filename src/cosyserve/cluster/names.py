"""What the deployments are called, in `serve status` and in the YAML of `serve deploy`."""

APPLICATION = "cosyserve"
ENGINE = "Engine"
FRONT = "Front"
