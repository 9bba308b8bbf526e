"""Ray is imported here first: what its modules warn of as they are imported is not ours to mend."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray.serve.request_router  # noqa: F401
