from tests.tuning.conftest import params, storage, study

__all__ = ["params", "storage", "study"]
